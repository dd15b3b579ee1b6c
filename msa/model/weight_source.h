// The weights of a backbone as its file holds them, one tensor at a time, in one naming and one
// row order whatever the file: Hugging Face's, where rope turns (x[i], x[i + D / 2]).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/base/gguf.h"
#include "msa/base/hash.h"
#include "msa/base/status.h"
#include "msa/model/backbone.h"
#include "msa/text/tokenizer.h"

namespace msa {

enum class Weight {
  kTokenEmbedding,   // [vocab, hidden]
  kOutputNorm,       // [hidden]
  kOutput,           // [vocab, hidden]; absent if embeddings are tied
  kAttentionNorm,    // [hidden], as all below for one layer
  kQuery,            // [H * D, hidden]
  kKey,              // [G * D, hidden]
  kValue,            // [G * D, hidden]
  kAttentionOutput,  // [hidden, H * D]
  kQueryNorm,        // [D], where attention_norms
  kKeyNorm,          // [D], where attention_norms
  kMlpNorm,          // [hidden]
  kGate,             // [intermediate, hidden]
  kUp,               // [intermediate, hidden]
  kDown,             // [hidden, intermediate]
};

// {rows, columns}; a vector is one row.
std::array<int64_t, 2> WeightShape(const BackboneConfig& backbone, Weight weight);

struct WeightId {
  Weight weight;
  int64_t layer = -1;  // of the weights of a layer
};

// Rows as GGUF's 4-bit blocks, so that they can stay 4-bit without loss.
struct WeightBlocks {
  GgmlType type;
  std::vector<std::byte> bytes;
};

// Immutable after Open; any number of threads may read.
class WeightSource {
 public:
  // A GGUF file or a Hugging Face folder. Every weight that the configuration asks for is there and
  // has its shape (else kDataLoss, naming tensor and file), so reading fails only for types we do
  // not expand.
  static Result<std::unique_ptr<WeightSource>> Open(const std::string& path);
  virtual ~WeightSource() = default;

  const BackboneConfig& config() const { return config_; }
  std::array<int64_t, 2> Shape(Weight weight) const { return WeightShape(config_, weight); }

  // Expands to f32; `out` holds rows * columns values.
  virtual Status Read(WeightId id, std::span<float> out) const = 0;
  // The weight's Q4_0 or Q4_1 blocks; nothing if the file holds it otherwise.
  virtual std::optional<WeightBlocks> ReadBlocks(WeightId id) const = 0;
  // Bits of a value of the file's matrices, 4 to 32 (the embedding aside).
  virtual int matrix_bits() const = 0;

  virtual Result<std::unique_ptr<Tokenizer>> LoadTokenizer() const = 0;
  virtual const std::string& chat_template() const = 0;  // Jinja; empty if there is none
  virtual int64_t file_bytes() const = 0;
  // Of the content. Files above 16 MiB are sampled (their start, their end and 64 KiB of every
  // 1 / 256 between), because a model is opened for every question and may be gigabytes large.
  virtual Digest fingerprint() const = 0;

 protected:
  // Calls Check for every weight of the configuration.
  Status CheckAll() const;
  // Is the weight there, with its shape? `id.weight` is one that the configuration asks for.
  virtual Status Check(WeightId id) const = 0;
  // kDataLoss naming file, tensor, found and expected if `shape` is not that of `weight`.
  Status CheckShape(Weight weight, std::span<const int64_t> shape, const std::string& path,
                    const std::string& tensor) const;

  BackboneConfig config_;
};

// Digest of one file's content, sampled as WeightSource::fingerprint says.
Result<Digest> SampledDigest(const std::string& path);

Result<std::unique_ptr<WeightSource>> OpenGgufWeights(const std::string& path);
Result<std::unique_ptr<WeightSource>> OpenHuggingFaceWeights(const std::string& folder);

}  // namespace msa
