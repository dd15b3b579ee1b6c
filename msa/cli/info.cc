#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

using Json = nlohmann::ordered_json;

Json Describe(const EncodingStats& encoding, const BankStats& stats) {
  const LatentLayout& layout = encoding.info.layout;
  Json json = {
      {"fingerprint", encoding.info.fingerprint},
      {"pending", encoding.is_pending},
      {"encoded_passages", encoding.encoded_passages},
      {"unencoded_passages", stats.passages - stats.unkept_passages - encoding.encoded_passages},
      {"latents", encoding.latents},
      {"key_bytes", encoding.latents * layout.key_row_bytes()},
      {"latent_bytes", encoding.latents * layout.latent_row_bytes()}};
  const auto config = Json::parse(encoding.info.config_json, nullptr, false);
  if (config.is_object()) json["config"] = config;
  return json;
}

Result<Json> Gather(const Bank& bank, const Snapshot& snapshot) {
  MSA_ASSIGN_OR_RETURN(const Retention retention, snapshot.GetRetention());
  MSA_ASSIGN_OR_RETURN(const BankStats stats, snapshot.Stats());
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot.Encodings());
  Json json = {{"bank", bank.path()},
               {"read_only", bank.read_only()},
               {"encrypted", bank.options().encrypt},
               {"revision", snapshot.revision().value},
               {"revisions", stats.revisions},
               {"documents", stats.documents},
               {"passages", stats.passages},
               {"tokens", stats.tokens},
               {"text_bytes", stats.text_bytes},
               {"passage_tokens", bank.options().passage_tokens},
               {"chunk_tokens", bank.options().chunk_tokens},
               {"unkept_passages", stats.unkept_passages},
               {"retention", ToJson(retention)},
               {"disk_bytes", stats.disk_bytes},
               {"encodings", Json::array()}};
  for (const EncodingStats& encoding : encodings)
    json["encodings"].push_back(Describe(encoding, stats));
  return json;
}

// The model's sizes: what lies in its file, and what it takes in memory.
Status AddModel(Engine& engine, Json* json) {
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, engine.Model());
  (*json)["model"] = {{"name", model->backbone().name},
                      {"family", model->backbone().family},
                      {"context_tokens", model->backbone().context_tokens},
                      {"file_bytes", model->file_bytes()},
                      {"resident_bytes", model->resident_bytes()},
                      {"compute", model->compute_description()},
                      {"fingerprint", model->fingerprint()}};
  return OkStatus();
}

std::string Bytes(const Json& value) { return HumanBytes(value.get<double>()); }

void Print(const Json& info) {
  std::printf("%s: revision %s, %s documents, %s passages, %s tokens, %s of text\n",
              info["bank"].get<std::string>().c_str(), info["revision"].dump().c_str(),
              info["documents"].dump().c_str(), info["passages"].dump().c_str(),
              info["tokens"].dump().c_str(), Bytes(info["text_bytes"]).c_str());
  if (info["encrypted"]) std::printf("  encrypted; keys in its keyring, outside of the bank\n");
  for (const auto& [kind, bytes] : info["disk_bytes"].items()) {
    std::printf("  %-9s %s\n", kind.c_str(), Bytes(bytes).c_str());
  }
  for (const Json& encoding : info["encodings"]) {
    std::printf("encoding %s%s: %s latents, %s of keys, %s of latents, %s passages without\n",
                encoding["fingerprint"].get<std::string>().substr(0, 12).c_str(),
                encoding["pending"] ? " (a migration is making it)" : "",
                encoding["latents"].dump().c_str(), Bytes(encoding["key_bytes"]).c_str(),
                Bytes(encoding["latent_bytes"]).c_str(),
                encoding["unencoded_passages"].dump().c_str());
    if (encoding.contains("config")) std::printf("  %s\n", encoding["config"].dump().c_str());
  }
  if (info.contains("model")) {
    const Json& model = info["model"];
    std::printf("model %s: file %s, in memory %s, computes in %s\n",
                model["name"].get<std::string>().c_str(), Bytes(model["file_bytes"]).c_str(),
                Bytes(model["resident_bytes"]).c_str(),
                model["compute"].get<std::string>().c_str());
  }
}

struct Options : CommonOptions {
  bool with_model = false;
};

Status Info(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const EngineOptions engine_options, options.Engine());
  MSA_ASSIGN_OR_RETURN(const auto engine, Engine::Open(options.bank, engine_options));
  MSA_ASSIGN_OR_RETURN(const auto snapshot, engine->bank().Latest());
  MSA_ASSIGN_OR_RETURN(Json info, Gather(engine->bank(), *snapshot));
  if (options.with_model) MSA_RETURN_IF_ERROR(AddModel(*engine, &info));
  if (options.json) {
    PrintJson(info);
  } else {
    Print(info);
  }
  return OkStatus();
}

}  // namespace

void DeclareInfo(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "What a bank holds, its sizes and its encodings");
  options->AddBank(*command);
  command->add_flag("--with-model", options->with_model,
                    "Load the model too and state its size in memory");
  options->AddOutput(*command);
  options->AddModel(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Info(*options), options->json); });
}

}  // namespace msa::cli
