#include "msa/model/weight_source.h"

#include <algorithm>
#include <filesystem>

namespace msa {

Result<std::unique_ptr<WeightSource>> WeightSource::Open(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return NotFound(path + ": no such file or folder");
  if (std::filesystem::is_directory(path, error)) return OpenHuggingFaceWeights(path);
  return OpenGgufWeights(path);
}

std::array<int64_t, 2> WeightShape(const BackboneConfig& c, Weight weight) {
  switch (weight) {
    case Weight::kTokenEmbedding:
    case Weight::kOutput: return {c.vocab_size, c.hidden_size};
    case Weight::kOutputNorm:
    case Weight::kAttentionNorm:
    case Weight::kMlpNorm: return {1, c.hidden_size};
    case Weight::kQuery: return {c.query_size(), c.hidden_size};
    case Weight::kKey:
    case Weight::kValue: return {c.kv_size(), c.hidden_size};
    case Weight::kAttentionOutput: return {c.hidden_size, c.query_size()};
    case Weight::kQueryNorm:
    case Weight::kKeyNorm: return {1, c.head_dim};
    case Weight::kGate:
    case Weight::kUp: return {c.intermediate_size, c.hidden_size};
    case Weight::kDown: return {c.hidden_size, c.intermediate_size};
  }
  MSA_CHECK(false);
}

Status WeightSource::CheckAll() const {
  MSA_RETURN_IF_ERROR(Check({Weight::kTokenEmbedding}));
  MSA_RETURN_IF_ERROR(Check({Weight::kOutputNorm}));
  if (!config_.tied_embeddings) MSA_RETURN_IF_ERROR(Check({Weight::kOutput}));
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    for (const Weight weight :
         {Weight::kAttentionNorm, Weight::kQuery, Weight::kKey, Weight::kValue,
          Weight::kAttentionOutput, Weight::kMlpNorm, Weight::kGate, Weight::kUp, Weight::kDown}) {
      MSA_RETURN_IF_ERROR(Check({weight, layer}));
    }
    if (!config_.attention_norms) continue;
    MSA_RETURN_IF_ERROR(Check({Weight::kQueryNorm, layer}));
    MSA_RETURN_IF_ERROR(Check({Weight::kKeyNorm, layer}));
  }
  return OkStatus();
}

Status WeightSource::CheckShape(Weight weight, std::span<const int64_t> shape,
                                const std::string& path, const std::string& tensor) const {
  const auto [rows, columns] = Shape(weight);
  std::vector<int64_t> expected = {rows, columns};
  if (rows == 1) expected.erase(expected.begin());
  if (std::equal(shape.begin(), shape.end(), expected.begin(), expected.end())) return OkStatus();
  const auto text = [](std::span<const int64_t> sizes) {
    std::string out = "[";
    for (const int64_t n : sizes) out += (out.size() > 1 ? ", " : "") + std::to_string(n);
    return out + "]";
  };
  return DataLoss(path + ": tensor " + tensor + " has shape " + text(shape) + ", expected " +
                  text(expected));
}

Result<Digest> SampledDigest(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::span<const std::byte> content = file.bytes();
  constexpr size_t kWhole = size_t{16} << 20;
  constexpr size_t kSample = size_t{64} << 10;
  constexpr size_t kSamples = 256;
  if (content.size() <= kWhole) return Blake2b(content);
  const uint64_t size = content.size();
  std::vector<std::byte> digests;
  const auto add = [&](std::span<const std::byte> bytes) {
    const Digest digest = Blake2b(bytes);
    digests.insert(digests.end(), digest.begin(), digest.end());
  };
  add(std::as_bytes(std::span(&size, 1)));
  for (size_t i = 0; i <= kSamples; ++i) {
    add(content.subspan((content.size() - kSample) / kSamples * i, kSample));
  }
  add(content.last(kSample));
  return Blake2b(digests);
}

}  // namespace msa
