// A backbone with a memory: encodes passages into latents, folds questions into routing queries,
// and reads with latents attached. See design.md, The mathematics. libtorch stays out of this
// header.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/base/dtype.h"
#include "msa/base/status.h"
#include "msa/base/threads.h"
#include "msa/model/backbone.h"
#include "msa/model/key_whitening.h"
#include "msa/text/tokenizer.h"

namespace msa {

// P where neither configuration nor adapter says it.
inline constexpr int64_t kDefaultChunkTokens = 64;

// What is kept of a passage and how. Recorded in the bank with the encoding.
struct MemoryConfig {
  int64_t passage_tokens = 256;         // W
  int64_t chunk_tokens = 0;             // P; 0: the adapter's, or kDefaultChunkTokens
  std::vector<int64_t> memory_layers;   // ascending; empty: the upper half
  std::vector<int64_t> routing_layers;  // ascending, memory layers; empty: the last one
  DType key_dtype = DType::kI8;         // kF32, kBF16, kF16, kI8
  DType latent_dtype = DType::kI8;
  int64_t top_k = 16;
  int64_t query_offset = 16;

  // Index of `layer` among the memory or routing layers, once these are filled in; -1 if it is
  // none.
  int64_t MemoryIndex(int64_t layer) const;
  int64_t RoutingIndex(int64_t layer) const;

  std::string ToJson() const;
  static Result<MemoryConfig> FromJson(std::string_view json);
};

// Latents of a batch of passages, in f32; passage i has chunks[i] = ceil(tokens / P) of them, one
// after another.
struct EncodedBatch {
  std::vector<int64_t> chunks;
  std::vector<float> keys;     // [N, E]
  std::vector<float> latents;  // [N, layers, 2, G, D]
};

// Latents to attend to: keys already rotated passage-wise.
struct AttachedMemory {
  int64_t num_latents = 0;
  std::vector<float> latents;  // [num_latents, layers, 2, G, D]
  std::vector<float>
      routing_score;  // [num_latents], s of each latent's passage; used where alpha > 0
  // The adapter's reader runs where there are latents, or where this asks for it all the same.
  bool always_reader = false;
  // The prompt holds texts as well: the adapter's reader of texts runs, if it has one.
  bool beside_text = false;

  bool needs_reader() const { return num_latents > 0 || always_reader; }
};

// A text to be scored under the model. Borrows tokens and memory.
struct ScoreRow {
  std::span<const TokenId> tokens;
  const AttachedMemory* memory = nullptr;  // null: none
  int64_t first = 1;                       // the first token to score; 1 to tokens - 1
};

struct SamplingOptions {
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // 0: off
  double top_p = 1;
  uint64_t seed = 0;
};

// One conversation: a KV cache over local tokens, with memory attached or not. Not thread-safe.
class Session {
 public:
  virtual ~Session() = default;
  // Appends tokens and returns the logits [vocab_size] after the last. kInvalidArgument beyond the
  // context.
  virtual Result<std::span<const float>> Feed(std::span<const TokenId> tokens) = 0;
  // As Feed, but logits after every token: [tokens, vocab_size]. For tests and measurements.
  virtual Result<std::vector<float>> FeedAll(std::span<const TokenId> tokens) = 0;
  virtual int64_t num_tokens() const = 0;
};

class MemoryModel {
 public:
  // A GGUF file or a Hugging Face folder; `adapter_path` empty: none (mean pooling, the layers' own
  // projections).
  static Result<std::unique_ptr<MemoryModel>> Load(const std::string& path,
                                                   const std::string& adapter_path,
                                                   const MemoryConfig& config,
                                                   const LoadModelOptions& options);
  virtual ~MemoryModel() = default;

  virtual const BackboneConfig& backbone() const = 0;
  virtual const MemoryConfig& memory() const = 0;  // with the empty lists filled in
  virtual const Tokenizer& tokenizer() const = 0;
  virtual const std::string& chat_template()
      const = 0;  // the model's own Jinja text; empty if it has none
  // Hex: backbone weights, adapter and everything of the configuration that changes latents.
  virtual const std::string& fingerprint() const = 0;
  virtual bool has_adapter() const = 0;
  virtual bool has_text_reader() const = 0;  // the adapter's, for texts beside latents
  virtual double latent_weight() const = 0;  // of rank fusion, from the adapter; 0 without one
  // What the keys of a bank make of folded queries before they are routed there (key_whitening.h);
  // it changes nothing if the adapter has no exponent.
  virtual KeyWhitening WhitenFor(std::span<const RouterKeysView> runs) const = 0;

  virtual int64_t file_bytes() const = 0;
  virtual int64_t resident_bytes() const = 0;
  virtual std::string compute_description() const = 0;  // "i8 (avx512vnni), 2 threads"
  virtual int64_t key_dim() const = 0;                  // E

  // How many tokens an Encode should get: enough to keep the device busy, few enough that Ctrl-C is
  // answered in seconds on a slow machine and that the f32 latents stay below 150 MB for the
  // default model.
  virtual int64_t batch_tokens() const = 0;
  // Each passage alone, positions from 0; 1 to W tokens each. Bounded memory: the caller bounds the
  // batch. Uses all threads.
  virtual Result<EncodedBatch> Encode(std::span<const std::span<const TokenId>> passages) = 0;

  // The folded query [1, E] of a question: its last token (the end of turn, in the adapter's
  // template or the model's).
  virtual Result<std::vector<float>> RouteQuery(std::string_view question) = 0;

  virtual Result<std::unique_ptr<Session>> StartSession(std::optional<AttachedMemory> memory) = 0;

  // Nats of each row's tokens from `first` on: -ln p(token | those before it, memory). The same
  // numbers as a Session's logits give, many rows at once; logits are never held for a whole batch.
  // For measurements.
  virtual Result<std::vector<std::vector<float>>> Score(std::span<const ScoreRow> rows) = 0;

  // Draws the next token from logits.
  static TokenId Sample(std::span<const float> logits, const SamplingOptions& options,
                        uint64_t step);
};

}  // namespace msa
