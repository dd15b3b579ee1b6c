#include "msa/train/train_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

namespace msa {
namespace {

using Json = nlohmann::json;

// Calls f(key, member) for each key of the object, so that reading and writing cannot differ.
template <class Phase, class F>
void VisitPhase(Phase& p, F&& f) {
  f("name", p.name);
  f("steps", p.steps);
  f("reconstruct", p.reconstruct);
  f("stranger", p.stranger);
  f("proceed", p.proceed);
  f("answer", p.answer);
  f("questions", p.questions);
  f("cut_share", p.cut_share);
  f("one_source", p.one_source);
  f("hard_share", p.hard_share);
  f("more_passages", p.more_passages);
  f("made_share", p.made_share);
  f("attach", p.attach);
  f("text_share", p.text_share);
  f("texts", p.texts);
  f("absent_share", p.absent_share);
  f("text_teacher", p.text_teacher);
  f("beside_text_teacher", p.beside_text_teacher);
  f("stranger_teacher", p.stranger_teacher);
  f("reader_passages", p.reader_passages);
  f("span_share", p.span_share);
  f("beside", p.beside);
  f("reading_weight", p.reading_weight);
  f("contrastive_weight", p.contrastive_weight);
  f("layer_weight", p.layer_weight);
  f("teacher_weight", p.teacher_weight);
  f("teacher_temperature", p.teacher_temperature);
  f("update_rate", p.update_rate);
  f("router_rate", p.router_rate);
  f("scale_rate", p.scale_rate);
  f("tower_factor", p.tower_factor);
  f("warmup_steps", p.warmup_steps);
  f("last_rate", p.last_rate);
}

template <class Config, class F>
void VisitConfig(Config& c, F&& f) {
  f("model", c.model);
  f("chat_template", c.chat_template);
  f("pack", c.pack);
  f("teacher", c.teacher);
  f("output", c.output);
  f("device", c.device);
  f("seed", c.seed);
  f("memory_layers", c.memory_layers);
  f("routing_layers", c.routing_layers);
  f("chunk_tokens", c.chunk_tokens);
  f("tower_rank", c.tower_rank);
  f("reader_rank", c.reader_rank);
  f("text_reader_rank", c.text_reader_rank);
  f("update_scale", c.update_scale);
  f("addressing", c.addressing);
  f("routing_scale", c.routing_scale);
  f("latent_weight", c.latent_weight);
  f("key_whitening", c.key_whitening);
  f("source_weights", c.source_weights);
  f("teacher_weights", c.teacher_weights);
  f("clip", c.clip);
  f("micro_tokens", c.micro_tokens);
  f("log_steps", c.log_steps);
  f("check_steps", c.check_steps);
  f("checkpoint_steps", c.checkpoint_steps);
  f("max_seconds", c.max_seconds);
  f("deterministic", c.deterministic);
}

Status Wrong(const std::string& what) { return InvalidArgument("training configuration: " + what); }

// Fills an object's members; `known` are keys that the caller reads itself.
template <class Visit>
Status ReadObject(const Json& json, const std::string& where, std::vector<std::string> known,
                  Visit&& visit) {
  if (!json.is_object()) return Wrong(where + " is no JSON object");
  Status status;
  visit([&](const char* key, auto& member) {
    known.emplace_back(key);
    if (!json.contains(key)) return;
    try {
      json.at(key).get_to(member);
    } catch (const Json::exception&) {
      status = Wrong("\"" + std::string(key) + "\" of " + where + " is " + json.at(key).dump());
    }
  });
  for (const auto& [key, value] : json.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return Wrong("unknown key \"" + key + "\" in " + where);
    }
  }
  return status;
}

Status CheckPhase(const TrainPhase& phase) {
  const auto where = [&](const std::string& what) {
    return Wrong("phase " + phase.name + ": " + what);
  };
  if (phase.steps < 1) return where("steps must be at least 1");
  if (phase.questions < 2) return where("questions must be at least 2");
  if (phase.attach < 0) return where("attach must be at least 0");
  if (phase.texts < 1) return where("texts must be at least 1");
  if (phase.beside < 0) return where("beside must be at least 0");
  for (const double share : {phase.reconstruct, phase.stranger, phase.proceed, phase.answer}) {
    if (!(share >= 0)) return where("shares of tasks must be at least 0");
  }
  if (phase.reconstruct + phase.stranger + phase.proceed + phase.answer <= 0) {
    return where("no task has a share");
  }
  for (const double share : {phase.cut_share, phase.one_source, phase.hard_share, phase.made_share,
                             phase.text_share, phase.absent_share, phase.text_teacher,
                             phase.beside_text_teacher, phase.stranger_teacher, phase.span_share}) {
    if (!(share >= 0 && share <= 1)) return where("shares must be from 0 to 1");
  }
  return OkStatus();
}

}  // namespace

double WeightOf(const std::map<std::string, double>& weights, const std::string& source) {
  const auto given = weights.find(source);
  return given == weights.end() ? 1 : given->second;
}

int64_t TrainConfig::total_steps() const {
  int64_t steps = 0;
  for (const TrainPhase& phase : phases) steps += phase.steps;
  return steps;
}

std::vector<std::string> TrainConfig::devices() const {
  std::vector<std::string> out;
  std::istringstream list(device);
  for (std::string name; std::getline(list, name, ',');) out.push_back(name);
  return out;
}

Result<TrainConfig> TrainConfig::FromJson(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  TrainConfig config;
  MSA_RETURN_IF_ERROR(ReadObject(json, "the configuration", {"phases", "chunk_shares"},
                                 [&](auto&& f) { VisitConfig(config, f); }));
  if (json.contains("chunk_shares")) {
    config.chunk_shares.clear();
    for (const auto& [key, share] : json["chunk_shares"].items()) {
      const int64_t tokens = std::atoll(key.c_str());
      if (tokens < 1 || !share.is_number() || !(share.template get<double>() > 0)) {
        return Wrong("\"chunk_shares\" is {chunk tokens: share above 0}");
      }
      config.chunk_shares[tokens] = share.template get<double>();
    }
  }
  if (config.chunk_shares.empty()) return Wrong("\"chunk_shares\" is empty");
  if (json.contains("phases")) {
    if (!json["phases"].is_array() || json["phases"].empty()) return Wrong("\"phases\" is no list");
    config.phases.clear();
    for (const Json& item : json["phases"]) {
      TrainPhase phase;
      MSA_RETURN_IF_ERROR(ReadObject(item, "a phase", {}, [&](auto&& f) { VisitPhase(phase, f); }));
      MSA_RETURN_IF_ERROR(CheckPhase(phase));
      config.phases.push_back(std::move(phase));
    }
  }
  if (config.pack.empty()) return Wrong("\"pack\" is missing: a file that msa train pack wrote");
  if (config.output.empty())
    return Wrong("\"output\" is missing: a folder for what training makes");
  if (config.tower_rank < 1 || config.reader_rank < 1) return Wrong("ranks must be at least 1");
  if (config.text_reader_rank < 0) return Wrong("\"text_reader_rank\" must be at least 0");
  for (const auto& [source, weight] : config.teacher_weights) {
    if (!(weight >= 0)) return Wrong("\"teacher_weights\" must be at least 0");
  }
  if (!(config.routing_scale > 0)) return Wrong("\"routing_scale\" must be above 0");
  if (config.log_steps < 1) return Wrong("\"log_steps\" must be at least 1");
  return config;
}

std::string TrainConfig::ToJson() const {
  Json json = Json::object();
  VisitConfig(*this, [&](const char* key, const auto& member) { json[key] = member; });
  json["chunk_shares"] = Json::object();
  for (const auto& [tokens, share] : chunk_shares) {
    json["chunk_shares"][std::to_string(tokens)] = share;
  }
  json["phases"] = Json::array();
  for (const TrainPhase& phase : phases) {
    Json item = Json::object();
    VisitPhase(phase, [&](const char* key, const auto& member) { item[key] = member; });
    json["phases"].push_back(std::move(item));
  }
  return json.dump();
}

}  // namespace msa
