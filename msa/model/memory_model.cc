#include "msa/model/memory_model.h"

#include <algorithm>

#include "msa/model/cpu_forward.h"
#include "msa/model/torch_forward.h"
#include "msa/model/transformer.h"
#include "msa/text/chat_template.h"

namespace msa {
namespace {

constexpr int64_t kSmallModel = 1'000'000'000;

// Whether the integer kernels take every matrix: inputs in multiples of 32.
bool FitsIntegerKernels(const BackboneConfig& c) {
  return c.hidden_size % 32 == 0 && c.intermediate_size % 32 == 0 && c.query_size() % 32 == 0;
}

WeightMode ChooseMode(WeightMode mode, const WeightSource& source, const std::string& device) {
  if (mode != WeightMode::kAuto) return mode;
  if (device != "cpu") return WeightMode::kBF16;
  if (!FitsIntegerKernels(source.config())) return WeightMode::kF32;
  if (source.config().num_parameters() < kSmallModel) return WeightMode::kI8;
  if (source.matrix_bits() <= 6) return WeightMode::kI4;
  return source.matrix_bits() <= 8 ? WeightMode::kI8 : WeightMode::kBF16;
}

// Not the weight mode: latents of the same weights stand beside each other however they were
// multiplied.
std::string Fingerprint(const WeightSource& source, const MemoryPlan& plan) {
  MemoryConfig config = plan.memory;
  config.passage_tokens = 0;  // says where text is cut, and that is the bank's
  config.top_k = 0;
  config.query_offset = 0;
  const std::string json = config.ToJson();
  const Digest weights = source.fingerprint();
  std::vector<std::byte> all(weights.begin(), weights.end());
  all.insert(all.end(), plan.adapter.digest.begin(), plan.adapter.digest.end());
  const auto bytes = AsBytes(json);
  all.insert(all.end(), bytes.begin(), bytes.end());
  return HexEncode(Blake2b(all));
}

Result<std::unique_ptr<Transformer>> LoadTransformer(const WeightSource& source,
                                                     const MemoryPlan& plan,
                                                     const LoadModelOptions& options) {
  const WeightMode mode = ChooseMode(options.weights, source, options.device);
  if (mode == WeightMode::kI8 || mode == WeightMode::kI4) {
    if (options.device != "cpu") {
      return InvalidArgument("weights " + std::string(WeightModeName(mode)) + " on device \"" +
                             options.device +
                             "\": 8- and 4-bit weights run on the cpu; give f32 "
                             "or bf16");
    }
    return LoadCpuForward(source, plan, mode, options.num_threads);
  }
  return LoadTorchForward(source, plan, mode, options.device, options.num_threads);
}

class LoadedModel : public MemoryModel {
 public:
  LoadedModel(std::unique_ptr<WeightSource> source, std::unique_ptr<Tokenizer> tokenizer,
              std::unique_ptr<MemoryPlan> plan, std::unique_ptr<Transformer> transformer,
              bool has_adapter)
      : source_(std::move(source)),
        tokenizer_(std::move(tokenizer)),
        plan_(std::move(plan)),
        transformer_(std::move(transformer)),
        fingerprint_(Fingerprint(*source_, *plan_)),
        has_adapter_(has_adapter) {}

  const BackboneConfig& backbone() const override { return plan_->backbone; }
  const MemoryConfig& memory() const override { return plan_->memory; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  const std::string& chat_template() const override { return source_->chat_template(); }
  const std::string& fingerprint() const override { return fingerprint_; }
  bool has_adapter() const override { return has_adapter_; }
  bool has_text_reader() const override { return !plan_->adapter.text_reader.empty(); }
  double latent_weight() const override { return plan_->adapter.latent_weight; }
  KeyWhitening WhitenFor(std::span<const RouterKeysView> runs) const override {
    return KeyWhitening::Of(runs, plan_->backbone.kv_size(), plan_->adapter.key_whitening);
  }
  int64_t file_bytes() const override { return source_->file_bytes(); }
  int64_t resident_bytes() const override { return transformer_->resident_bytes(); }
  std::string compute_description() const override { return transformer_->compute_description(); }
  int64_t key_dim() const override { return plan_->key_dim(); }
  int64_t batch_tokens() const override { return transformer_->batch_tokens(); }

  Result<EncodedBatch> Encode(std::span<const std::span<const TokenId>> passages) override {
    EncodedBatch out;
    const int64_t chunk = plan_->memory.chunk_tokens;
    int64_t total = 0;
    for (size_t i = 0; i < passages.size(); ++i) {
      const auto length = static_cast<int64_t>(passages[i].size());
      const std::string name = "passage " + std::to_string(i);
      if (length > plan_->memory.passage_tokens) {
        return InvalidArgument(name + " has " + std::to_string(length) + " tokens, at most " +
                               std::to_string(plan_->memory.passage_tokens) + " are allowed");
      }
      MSA_RETURN_IF_ERROR(CheckFeed(plan_->backbone, passages[i], 0).WithContext(name));
      out.chunks.push_back((length + chunk - 1) / chunk);
      total += out.chunks.back();
    }
    out.keys.resize(static_cast<size_t>(total * plan_->key_dim()));
    out.latents.resize(static_cast<size_t>(total * plan_->latent_size()));
    if (total > 0) MSA_RETURN_IF_ERROR(transformer_->Encode(passages, &out));
    return out;
  }

  Result<std::vector<float>> RouteQuery(std::string_view question) override {
    MSA_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, QuestionTokens(question));
    MSA_RETURN_IF_ERROR(CheckFeed(plan_->backbone, tokens, 0).WithContext("question"));
    return transformer_->RouteQuery(tokens);
  }

  Result<std::unique_ptr<Session>> StartSession(std::optional<AttachedMemory> memory) override {
    if (memory) MSA_RETURN_IF_ERROR(CheckMemory(*memory));
    return transformer_->StartSession(std::move(memory));
  }

  Result<std::vector<std::vector<float>>> Score(std::span<const ScoreRow> rows) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string name = "row " + std::to_string(i);
      MSA_RETURN_IF_ERROR(CheckFeed(plan_->backbone, rows[i].tokens, 0).WithContext(name));
      if (rows[i].first < 1 || rows[i].first >= std::ssize(rows[i].tokens)) {
        return InvalidArgument(name + ": token " + std::to_string(rows[i].first) + " of " +
                               std::to_string(rows[i].tokens.size()) + " cannot be scored");
      }
      if (rows[i].memory != nullptr) {
        MSA_RETURN_IF_ERROR(CheckMemory(*rows[i].memory).WithContext(name));
      }
    }
    return transformer_->Score(rows);
  }

 private:
  Status CheckMemory(const AttachedMemory& memory) const {
    const auto n = static_cast<size_t>(memory.num_latents);
    const size_t expected = n * static_cast<size_t>(plan_->latent_size());
    if (memory.latents.size() == expected && memory.routing_score.size() == n) return OkStatus();
    return InvalidArgument("attached memory has " + std::to_string(memory.latents.size()) +
                           " values and " + std::to_string(memory.routing_score.size()) +
                           " scores, expected " + std::to_string(expected) + " and " +
                           std::to_string(n));
  }

  // The question in the adapter's template, each of its three parts tokenised alone; else as a user
  // turn in the model's own, up to and with the token that ends the turn; the bare question for a
  // model without a template.
  Result<std::vector<TokenId>> QuestionTokens(std::string_view question) const {
    if (const auto& trained = plan_->adapter.question) {
      std::vector<TokenId> tokens = tokenizer_->Encode(trained->prefix, {.parse_special = true});
      for (const auto& part : {tokenizer_->Encode(question),
                               tokenizer_->Encode(trained->suffix, {.parse_special = true})}) {
        tokens.insert(tokens.end(), part.begin(), part.end());
      }
      return tokens;
    }
    if (chat_template().empty()) return tokenizer_->Encode(question);
    MSA_ASSIGN_OR_RETURN(const ChatFamily family, RecogniseChatTemplate(chat_template()));
    const ChatMessage message{"user", std::string(question)};
    std::vector<TokenId> tokens = RenderChat(family, *tokenizer_, std::span(&message, 1));
    const std::vector<TokenId> stops = StopTokens(family, *tokenizer_);
    const auto end = std::find_first_of(tokens.rbegin(), tokens.rend(), stops.begin(), stops.end());
    if (end == tokens.rend()) return Internal("the rendered question has no end of turn");
    tokens.erase(end.base(), tokens.end());
    return tokens;
  }

  const std::unique_ptr<WeightSource> source_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const std::unique_ptr<MemoryPlan> plan_;  // the transformer keeps a reference
  const std::unique_ptr<Transformer> transformer_;
  const std::string fingerprint_;
  const bool has_adapter_;
};

}  // namespace

Result<std::unique_ptr<MemoryModel>> MemoryModel::Load(const std::string& path,
                                                       const std::string& adapter_path,
                                                       const MemoryConfig& config,
                                                       const LoadModelOptions& options) {
  MSA_ASSIGN_OR_RETURN(auto source, WeightSource::Open(path));
  auto plan = std::make_unique<MemoryPlan>();
  plan->backbone = source->config();
  plan->memory = config;
  if (adapter_path.empty()) {
    MSA_RETURN_IF_ERROR(ResolveMemoryConfig(plan->backbone, &plan->memory).WithContext(path));
    plan->adapter = Adapter::Untrained(plan->memory);
  } else {
    MSA_ASSIGN_OR_RETURN(plan->adapter, Adapter::Load(adapter_path, plan->backbone, &plan->memory));
  }
  MSA_ASSIGN_OR_RETURN(auto tokenizer, source->LoadTokenizer());
  if (tokenizer->vocab_size() > plan->backbone.vocab_size) {
    return DataLoss(path + ": the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                    " tokens, the embedding " + std::to_string(plan->backbone.vocab_size));
  }
  MSA_ASSIGN_OR_RETURN(auto transformer, LoadTransformer(*source, *plan, options));
  return std::unique_ptr<MemoryModel>(new LoadedModel(std::move(source), std::move(tokenizer),
                                                      std::move(plan), std::move(transformer),
                                                      !adapter_path.empty()));
}

}  // namespace msa
