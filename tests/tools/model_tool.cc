// Drives a MemoryModel from another language, for the parity tests: one JSON request a line on
// stdin; each answer is one JSON line naming arrays and their shapes, then their f32 values, raw.
//
//   msa_model_tool MODEL '{"weights": "f32", "adapter": PATH, "memory": {…}, "threads": 1}'
//
//   {"op": "info"}
//   {"op": "logits", "tokens": […], "split": n, "memory": M}   every position; the first n apart
//   {"op": "greedy", "tokens": […], "steps": n, "memory": M}
//   {"op": "encode", "passages": [[…], …]}
//   {"op": "route", "question": "…"}
// with M absent or {"latents": […], "scores": […]}.

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "msa/model/memory_model.h"

namespace msa {
namespace {

using Json = nlohmann::json;

struct Array {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

struct Answer {
  Json fields = Json::object();
  std::vector<Array> arrays;
};

void Print(const Answer& answer) {
  Json line = answer.fields;
  line["arrays"] = Json::array();
  for (const Array& array : answer.arrays) line["arrays"].push_back({array.name, array.shape});
  const std::string text = line.dump() + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  for (const Array& array : answer.arrays) {
    std::fwrite(array.values.data(), sizeof(float), array.values.size(), stdout);
  }
  std::fflush(stdout);
}

Result<std::unique_ptr<Session>> StartSession(MemoryModel& model, const Json& request) {
  if (!request.contains("memory")) return model.StartSession(std::nullopt);
  AttachedMemory memory;
  memory.latents = request["memory"]["latents"].get<std::vector<float>>();
  memory.routing_score = request["memory"]["scores"].get<std::vector<float>>();
  memory.num_latents = static_cast<int64_t>(memory.routing_score.size());
  return model.StartSession(std::move(memory));
}

Result<Answer> Info(MemoryModel& model) {
  Answer answer;
  answer.fields = {{"fingerprint", model.fingerprint()},
                   {"memory", Json::parse(model.memory().ToJson())},
                   {"key_dim", model.key_dim()},
                   {"latent_weight", model.latent_weight()},
                   {"file_bytes", model.file_bytes()},
                   {"resident_bytes", model.resident_bytes()},
                   {"compute", model.compute_description()}};
  return answer;
}

Result<Answer> Logits(MemoryModel& model, const Json& request) {
  const auto tokens = request["tokens"].get<std::vector<TokenId>>();
  const auto split = request.value("split", size_t{0});
  MSA_ASSIGN_OR_RETURN(auto session, StartSession(model, request));
  std::vector<float> logits;
  const std::span<const TokenId> all(tokens);
  for (const auto part : {all.first(split), all.subspan(split)}) {
    if (part.empty()) continue;
    MSA_ASSIGN_OR_RETURN(const auto values, session->FeedAll(part));
    logits.insert(logits.end(), values.begin(), values.end());
  }
  const auto rows = static_cast<int64_t>(tokens.size());
  return Answer{
      Json::object(),
      {{"logits", {rows, static_cast<int64_t>(logits.size()) / rows}, std::move(logits)}}};
}

Result<Answer> Greedy(MemoryModel& model, const Json& request) {
  const auto tokens = request["tokens"].get<std::vector<TokenId>>();
  MSA_ASSIGN_OR_RETURN(auto session, StartSession(model, request));
  MSA_ASSIGN_OR_RETURN(auto logits, session->Feed(tokens));
  Answer answer;
  answer.fields["tokens"] = Json::array();
  for (int64_t step = 0; step < request["steps"].get<int64_t>(); ++step) {
    const TokenId token = MemoryModel::Sample(logits, {}, 0);
    answer.fields["tokens"].push_back(token);
    MSA_ASSIGN_OR_RETURN(logits, session->Feed(std::span(&token, 1)));
  }
  return answer;
}

Result<Answer> Encode(MemoryModel& model, const Json& request) {
  const auto passages = request["passages"].get<std::vector<std::vector<TokenId>>>();
  const std::vector<std::span<const TokenId>> views(passages.begin(), passages.end());
  MSA_ASSIGN_OR_RETURN(EncodedBatch batch, model.Encode(views));
  Answer answer;
  answer.fields["chunks"] = batch.chunks;
  const auto rows = static_cast<int64_t>(batch.keys.size()) / model.key_dim();
  const BackboneConfig& backbone = model.backbone();
  answer.arrays.push_back({"keys", {rows, model.key_dim()}, std::move(batch.keys)});
  answer.arrays.push_back({"latents",
                           {rows, static_cast<int64_t>(model.memory().memory_layers.size()), 2,
                            backbone.num_kv_heads, backbone.head_dim},
                           std::move(batch.latents)});
  return answer;
}

Result<Answer> Route(MemoryModel& model, const Json& request) {
  MSA_ASSIGN_OR_RETURN(auto query, model.RouteQuery(request["question"].get<std::string>()));
  return Answer{Json::object(), {{"query", {model.key_dim()}, std::move(query)}}};
}

Result<Answer> Handle(MemoryModel& model, const Json& request) {
  const auto op = request["op"].get<std::string>();
  if (op == "info") return Info(model);
  if (op == "logits") return Logits(model, request);
  if (op == "greedy") return Greedy(model, request);
  if (op == "encode") return Encode(model, request);
  if (op == "route") return Route(model, request);
  return InvalidArgument("unknown op " + op);
}

Result<std::unique_ptr<MemoryModel>> Load(const std::string& path, const Json& options) {
  MSA_ASSIGN_OR_RETURN(const MemoryConfig memory,
                       MemoryConfig::FromJson(options.value("memory", Json::object()).dump()));
  LoadModelOptions load;
  const std::string weights = options.value("weights", "auto");
  for (const WeightMode mode :
       {WeightMode::kF32, WeightMode::kBF16, WeightMode::kI8, WeightMode::kI4}) {
    if (weights == WeightModeName(mode)) load.weights = mode;
  }
  load.device = options.value("device", "cpu");
  load.num_threads = options.value("threads", 0);
  return MemoryModel::Load(path, options.value("adapter", ""), memory, load);
}

int Main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " MODEL OPTIONS_JSON\n";
    return 2;
  }
  const auto model = Load(argv[1], Json::parse(argv[2]));
  Print({{{"error", model.ok() ? "" : model.status().ToString()}}, {}});
  if (!model.ok()) return 1;
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = Handle(**model, Json::parse(line));
    Print(answer.ok() ? *answer : Answer{{{"error", answer.status().ToString()}}, {}});
  }
  return 0;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) { return msa::Main(argc, argv); }
