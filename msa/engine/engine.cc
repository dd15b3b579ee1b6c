#include "msa/engine/engine.h"

#include <nlohmann/json.hpp>

namespace msa {
namespace {

// Path of the model that latents were made with.
std::string MadeWith(const EncodingStats& encoding) {
  const auto config = nlohmann::json::parse(encoding.info.config_json, nullptr, false);
  return config.is_object() ? config.value("model_path", std::string("PATH")) : "PATH";
}

Status AnotherModel(const std::string& bank_path, const EncodingStats& encoding,
                    const std::string& model_path, const std::string& detail) {
  return FailedPrecondition(
      bank_path + " was made with another model or adapter (" + MadeWith(encoding) +
      ", fingerprint " + encoding.info.fingerprint.substr(0, 12) + ") than " + model_path + " (" +
      detail + "); give --model " + MadeWith(encoding) + ", or add to a new bank");
}

}  // namespace

Engine::Engine(std::unique_ptr<Bank> bank, EngineOptions options)
    : bank_(std::move(bank)), options_(std::move(options)) {}

Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Open(const std::string& bank_path, EngineOptions options) {
  auto bank = Bank::Open(bank_path);
  if (!bank.ok() && bank.status().code() == StatusCode::kNotFound) {
    return NotFound(bank.status().message() + "; make it with: msa add " + bank_path + " PATH...");
  }
  if (!bank.ok()) return bank.status();
  return std::unique_ptr<Engine>(new Engine(std::move(bank).value(), std::move(options)));
}

Result<std::unique_ptr<Engine>> Engine::OpenOrCreate(const std::string& bank_path,
                                                     EngineOptions options) {
  auto bank = Bank::Open(bank_path);
  if (!bank.ok() && bank.status().code() == StatusCode::kNotFound) {
    bank = Bank::Create(bank_path, {.passage_tokens = options.memory.passage_tokens,
                                    .chunk_tokens = options.memory.chunk_tokens});
  }
  if (!bank.ok()) return bank.status();
  return std::unique_ptr<Engine>(new Engine(std::move(bank).value(), std::move(options)));
}

Result<MemoryModel*> Engine::Model() {
  if (model_ != nullptr) return model_.get();
  if (options_.model_path.empty()) {
    MSA_ASSIGN_OR_RETURN(options_.model_path, DefaultModelPath());
  }
  // A bank that has an encoding says how its latents were made; one without takes the options.
  MemoryConfig memory = options_.memory;
  memory.passage_tokens = bank_->options().passage_tokens;
  memory.chunk_tokens = bank_->options().chunk_tokens;
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot->Encodings());
  if (!encodings.empty()) {
    MSA_ASSIGN_OR_RETURN(memory, MemoryConfig::FromJson(encodings.back().info.config_json));
  }
  auto model = MemoryModel::Load(options_.model_path, options_.adapter_path, memory, options_.load);
  // The layers that the bank's latents come from need not exist in this model.
  if (model.status().code() == StatusCode::kInvalidArgument && !encodings.empty() &&
      MadeWith(encodings.back()) != options_.model_path) {
    return AnotherModel(bank_->path(), encodings.back(), options_.model_path,
                        model.status().message());
  }
  MSA_ASSIGN_OR_RETURN(model_, std::move(model));
  return model_.get();
}

Result<EncodingInfo> Engine::DescribeEncoding() {
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
  const MemoryConfig& memory = model->memory();
  // The memory configuration, and beside it what a person needs to find the model again.
  auto config = nlohmann::json::parse(memory.ToJson());
  config["model"] = model->backbone().name;
  config["model_path"] = options_.model_path;
  EncodingInfo info;
  info.fingerprint = model->fingerprint();
  info.config_json = config.dump();
  info.layout = {.key_dim = model->key_dim(),
                 .layers = static_cast<int64_t>(memory.memory_layers.size()),
                 .kv_heads = model->backbone().num_kv_heads,
                 .head_dim = model->backbone().head_dim,
                 .key_dtype = memory.key_dtype,
                 .latent_dtype = memory.latent_dtype};
  return info;
}

Result<EncodingId> Engine::FindEncoding(const Snapshot& snapshot) {
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot.Encodings());
  if (encodings.empty()) {
    return FailedPrecondition(bank_->path() + " has no latents; run: msa encode " + bank_->path());
  }
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
  for (const EncodingStats& encoding : encodings) {
    if (encoding.info.fingerprint == model->fingerprint()) return encoding.info.id;
  }
  return AnotherModel(bank_->path(), encodings.back(), options_.model_path,
                      "fingerprint " + model->fingerprint().substr(0, 12));
}

Result<ChatFamily> Engine::Family() {
  if (!options_.chat_family.empty()) {
    if (const auto family = ParseChatFamily(options_.chat_family)) return *family;
    return InvalidArgument("unknown chat template family \"" + options_.chat_family +
                           "\"; there are smollm2, llama3 and qwen3");
  }
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
  return RecogniseChatTemplate(model->chat_template());
}

Result<int64_t> Engine::CountUnencoded(const Snapshot& snapshot) {
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot.Encodings());
  MSA_ASSIGN_OR_RETURN(const BankStats stats, snapshot.Stats());
  return encodings.empty() ? stats.passages : stats.passages - encodings.back().encoded_passages;
}

}  // namespace msa
