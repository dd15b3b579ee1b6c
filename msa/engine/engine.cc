#include "msa/engine/engine.h"

#include <nlohmann/json.hpp>

#include "msa/bank/latents_file.h"
#include "msa/model/adapter.h"

namespace msa {
namespace {

// What an encoding records of how its latents were made: "model_path", "adapter_path"; empty if it
// says nothing.
std::string Recorded(const EncodingInfo& encoding, const char* key) {
  const auto config = nlohmann::json::parse(encoding.config_json, nullptr, false);
  if (!config.is_object() || !config.contains(key) || !config[key].is_string()) return "";
  return config[key].get<std::string>();
}

// The first digits of a fingerprint, for people.
std::string Short(const std::string& fingerprint) {
  return "fingerprint " + fingerprint.substr(0, 12);
}

// " --model PATH --adapter PATH" as an encoding records them.
std::string ModelOptions(const EncodingInfo& encoding) {
  const std::string model = Recorded(encoding, "model_path");
  const std::string adapter = Recorded(encoding, "adapter_path");
  return " --model " + (model.empty() ? "PATH" : model) + " --adapter " +
         (adapter.empty() ? "none" : adapter);
}

Status AnotherModel(const std::string& bank_path, const EncodingInfo& encoding,
                    const std::string& model_path, const std::string& detail) {
  return FailedPrecondition(bank_path + " was made with another model or adapter (" +
                            Short(encoding.fingerprint) + ") than " + model_path + " (" + detail +
                            "); give" + ModelOptions(encoding) +
                            ", or move the bank to this one: msa migrate " + bank_path);
}

// `than`: what they do not fit, and why not.
Status OtherLatents(const LatentsFile& latents, const std::string& than) {
  return FailedPrecondition(latents.path() + " holds latents of another model, adapter or shape (" +
                            Short(latents.encoding().fingerprint) + ") than " + than +
                            "; leave --latents out, and the passages are encoded, or import into a "
                            "new bank with" +
                            ModelOptions(latents.encoding()));
}

// W and P of a bank that is made for exported latents; the rest is checked with the model.
Result<MemoryConfig> ConfigOf(const LatentsFile& latents) {
  constexpr int64_t kMaxTokens = 65536;
  MSA_ASSIGN_OR_RETURN(MemoryConfig memory, MemoryConfig::FromJson(latents.encoding().config_json));
  for (const int64_t tokens : {memory.passage_tokens, memory.chunk_tokens}) {
    if (tokens < 1 || tokens > kMaxTokens) {
      return DataLoss(latents.path() + ": passages or chunks of " + std::to_string(tokens) +
                      " tokens");
    }
  }
  return memory;
}

// As EngineOptions::adapter_path says; empty: none.
std::string ChooseAdapter(const EngineOptions& options,
                          const std::vector<EncodingStats>& encodings) {
  if (options.adapter_path == "none") return "";
  if (!options.adapter_path.empty()) return options.adapter_path;
  if (!encodings.empty() && Recorded(encodings.back().info, "adapter_path").empty()) return "";
  if (!options.model_path.empty()) return DefaultAdapterPath(options.model_path);
  const auto model = DefaultModelPath();
  return model.ok() ? DefaultAdapterPath(*model) : "";
}

// P of a new bank.
Result<int64_t> ChooseChunkTokens(const EngineOptions& options) {
  if (options.memory.chunk_tokens != 0) return options.memory.chunk_tokens;
  const std::string adapter = ChooseAdapter(options, {});
  return adapter.empty() ? kDefaultChunkTokens : Adapter::ReadChunkTokens(adapter);
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
    BankOptions made{.passage_tokens = options.memory.passage_tokens, .encrypt = options.encrypt};
    if (options.latents != nullptr) {
      MSA_ASSIGN_OR_RETURN(const MemoryConfig memory, ConfigOf(*options.latents));
      made.passage_tokens = memory.passage_tokens;
      made.chunk_tokens = memory.chunk_tokens;
    } else {
      MSA_ASSIGN_OR_RETURN(made.chunk_tokens, ChooseChunkTokens(options));
    }
    bank = Bank::Create(bank_path, made);
  }
  if (!bank.ok()) return bank.status();
  if (options.encrypt && !(*bank)->options().encrypt) {
    return FailedPrecondition(
        bank_path + " is there and not encrypted; msa encrypt makes an encrypted bank of it");
  }
  return std::unique_ptr<Engine>(new Engine(std::move(bank).value(), std::move(options)));
}

Result<std::string> Engine::AdapterPath() {
  if (!adapter_path_) {
    MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
    MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot->Encodings());
    adapter_path_ = ChooseAdapter(options_, encodings);
  }
  return *adapter_path_;
}

Result<MemoryModel*> Engine::Model() {
  if (model_ != nullptr) return model_.get();
  // A bank that has an encoding says how its latents were made; one without takes the options.
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank_->Latest());
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot->Encodings());
  if (encodings.empty()) {
    return options_.latents == nullptr ? LoadByOptions(bank_->options().chunk_tokens)
                                       : LoadByLatents();
  }
  if (options_.latents != nullptr &&
      options_.latents->encoding().fingerprint != encodings.back().info.fingerprint) {
    return OtherLatents(*options_.latents,
                        bank_->path() + " has (" + Short(encodings.back().info.fingerprint) + ")");
  }
  MSA_ASSIGN_OR_RETURN(const auto memory,
                       MemoryConfig::FromJson(encodings.back().info.config_json));
  const Status status = Load(encodings, memory);
  // The layers that the bank's latents come from need not exist in this model, nor be this
  // adapter's.
  const EncodingInfo& made = encodings.back().info;
  if ((status.code() == StatusCode::kInvalidArgument ||
       status.code() == StatusCode::kFailedPrecondition) &&
      (Recorded(made, "model_path") != options_.model_path ||
       Recorded(made, "adapter_path") != adapter_path_)) {
    return AnotherModel(bank_->path(), made, options_.model_path, status.message());
  }
  MSA_RETURN_IF_ERROR(status);
  return model_.get();
}

Result<MemoryModel*> Engine::LoadByLatents() {
  const LatentsFile& latents = *options_.latents;
  MSA_ASSIGN_OR_RETURN(const MemoryConfig memory, ConfigOf(latents));
  if (memory.passage_tokens != bank_->options().passage_tokens) {
    return OtherLatents(latents, bank_->path() + " takes, whose passages have " +
                                     std::to_string(bank_->options().passage_tokens) + " tokens");
  }
  EncodingStats made;
  made.info = latents.encoding();
  const Status status = Load({made}, memory);
  if (status.code() == StatusCode::kInvalidArgument ||
      status.code() == StatusCode::kFailedPrecondition) {
    return OtherLatents(latents, options_.model_path + " makes: " + status.message());
  }
  MSA_RETURN_IF_ERROR(status);
  if (model_->fingerprint() == latents.encoding().fingerprint) return model_.get();
  const std::string than = options_.model_path + " makes (" + Short(model_->fingerprint()) + ")";
  model_.reset();
  return OtherLatents(latents, than);
}

Result<MemoryModel*> Engine::LoadByOptions(int64_t chunk_tokens) {
  MemoryConfig memory = options_.memory;
  memory.passage_tokens = bank_->options().passage_tokens;
  memory.chunk_tokens = chunk_tokens;
  MSA_RETURN_IF_ERROR(Load({}, memory));
  return model_.get();
}

Status Engine::Load(const std::vector<EncodingStats>& encodings, const MemoryConfig& memory) {
  if (options_.model_path.empty()) {
    MSA_ASSIGN_OR_RETURN(options_.model_path, DefaultModelPath());
  }
  adapter_path_ = ChooseAdapter(options_, encodings);
  model_.reset();  // before its successor takes memory
  whitenings_.clear();
  MSA_ASSIGN_OR_RETURN(
      model_, MemoryModel::Load(options_.model_path, *adapter_path_, memory, options_.load));
  return OkStatus();
}

Result<EncodingInfo> Engine::DescribeEncoding() {
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
  const MemoryConfig& memory = model->memory();
  // The memory configuration, and beside it what a person needs to find the model again.
  auto config = nlohmann::json::parse(memory.ToJson());
  config["model"] = model->backbone().name;
  config["model_path"] = options_.model_path;
  MSA_ASSIGN_OR_RETURN(const std::string adapter, AdapterPath());
  if (!adapter.empty()) config["adapter_path"] = adapter;
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
    if (!encoding.is_pending && encoding.info.fingerprint == model->fingerprint()) {
      return encoding.info.id;
    }
  }
  return AnotherModel(bank_->path(), encodings.back().info, options_.model_path,
                      Short(model->fingerprint()));
}

Result<std::shared_ptr<const Snapshot>> Engine::SnapshotAt(RevisionId at) {
  return at.valid() ? bank_->At(at) : bank_->Latest();
}

Result<ChatFamily> Engine::Family() {
  MSA_ASSIGN_OR_RETURN(const MemoryModel* model, Model());
  return ChooseChatFamily(options_.chat_family, model->chat_template());
}

Result<int64_t> Engine::CountUnencoded(const Snapshot& snapshot, const LabelFilter& where) {
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot.Encodings(where));
  MSA_ASSIGN_OR_RETURN(const auto passages, snapshot.MatchingPassages(where));
  return passages->kept.size() - (encodings.empty() ? 0 : encodings.back().encoded_passages);
}

}  // namespace msa
