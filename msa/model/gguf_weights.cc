// WeightSource over a GGUF file.

#include <algorithm>
#include <cstring>

#include "msa/model/backbone_config.h"
#include "msa/model/weight_source.h"

namespace msa {
namespace {

std::string TensorName(WeightId id) {
  const std::string layer = "blk." + std::to_string(id.layer) + ".";
  switch (id.weight) {
    case Weight::kTokenEmbedding: return "token_embd.weight";
    case Weight::kOutputNorm: return "output_norm.weight";
    case Weight::kOutput: return "output.weight";
    case Weight::kAttentionNorm: return layer + "attn_norm.weight";
    case Weight::kQuery: return layer + "attn_q.weight";
    case Weight::kKey: return layer + "attn_k.weight";
    case Weight::kValue: return layer + "attn_v.weight";
    case Weight::kAttentionOutput: return layer + "attn_output.weight";
    case Weight::kQueryNorm: return layer + "attn_q_norm.weight";
    case Weight::kKeyNorm: return layer + "attn_k_norm.weight";
    case Weight::kMlpNorm: return layer + "ffn_norm.weight";
    case Weight::kGate: return layer + "ffn_gate.weight";
    case Weight::kUp: return layer + "ffn_up.weight";
    case Weight::kDown: return layer + "ffn_down.weight";
  }
  MSA_CHECK(false);
}

class GgufWeights : public WeightSource {
 public:
  static Result<std::unique_ptr<WeightSource>> Open(const std::string& path) {
    MSA_ASSIGN_OR_RETURN(auto file, GgufFile::Open(path));
    MSA_ASSIGN_OR_RETURN(BackboneConfig config, ConfigFromGguf(*file));
    std::unique_ptr<GgufWeights> weights(new GgufWeights(std::move(file), std::move(config)));
    MSA_RETURN_IF_ERROR(weights->CheckAll());
    MSA_ASSIGN_OR_RETURN(weights->fingerprint_, SampledDigest(path));
    return std::unique_ptr<WeightSource>(std::move(weights));
  }

  Status Read(WeightId id, std::span<float> out) const override {
    const GgufTensor& tensor = Tensor(id);
    MSA_RETURN_IF_ERROR(DequantizeGgml(tensor.type, tensor.bytes, out)
                            .WithContext(file_->path() + ": " + tensor.name));
    if (!IsPermuted(id)) return OkStatus();
    const size_t row_bytes = static_cast<size_t>(Shape(id.weight)[1]) * sizeof(float);
    const std::vector<std::byte> source(std::as_bytes(out).begin(), std::as_bytes(out).end());
    UndoPermutation(source, row_bytes, std::as_writable_bytes(out));
    return OkStatus();
  }

  std::optional<WeightBlocks> ReadBlocks(WeightId id) const override {
    const GgufTensor& tensor = Tensor(id);
    if (tensor.type != GgmlType::kQ4_0 && tensor.type != GgmlType::kQ4_1) return std::nullopt;
    WeightBlocks blocks{tensor.type, {tensor.bytes.begin(), tensor.bytes.end()}};
    if (IsPermuted(id)) {
      const size_t row_bytes = tensor.bytes.size() / static_cast<size_t>(Shape(id.weight)[0]);
      UndoPermutation(tensor.bytes, row_bytes, blocks.bytes);
    }
    return blocks;
  }

  int matrix_bits() const override {
    const GgmlType type = Tensor({Weight::kDown, 0}).type;
    return static_cast<int>(8 * GgmlBlockBytes(type) / GgmlBlockElements(type));
  }
  Result<std::unique_ptr<Tokenizer>> LoadTokenizer() const override {
    return Tokenizer::FromGguf(*file_);
  }
  const std::string& chat_template() const override { return chat_template_; }
  int64_t file_bytes() const override { return file_->size_bytes(); }
  Digest fingerprint() const override { return fingerprint_; }

 private:
  GgufWeights(std::shared_ptr<const GgufFile> file, BackboneConfig config)
      : file_(std::move(file)) {
    config_ = std::move(config);
    const auto text = file_->GetString("tokenizer.chat_template");
    if (text.ok()) chat_template_ = *text;
  }

  const GgufTensor& Tensor(WeightId id) const {
    const GgufTensor* tensor = file_->Find(TensorName(id));
    MSA_CHECK(tensor != nullptr);  // CheckAll
    return *tensor;
  }

  Status Check(WeightId id) const override {
    const std::string name = TensorName(id);
    const GgufTensor* tensor = file_->Find(name);
    if (tensor == nullptr) return DataLoss(file_->path() + ": tensor " + name + " is missing");
    MSA_RETURN_IF_ERROR(CheckShape(id.weight, tensor->shape, file_->path(), name));
    if (!IsReadableGgmlType(tensor->type)) {
      return Unimplemented(file_->path() + ": tensor " + name + " has " +
                           GgmlTypeName(tensor->type) +
                           "; supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K");
    }
    return OkStatus();
  }

  // llama.cpp's converter turns the rows of each query and key head of Llama models, so that rope
  // pairs lie side by side; not those of Qwen3.
  bool IsPermuted(WeightId id) const {
    return config_.family == "llama" && (id.weight == Weight::kQuery || id.weight == Weight::kKey);
  }

  // Row 2 i + j of a head goes to row j * D / 2 + i.
  void UndoPermutation(std::span<const std::byte> source, size_t row_bytes,
                       std::span<std::byte> out) const {
    const auto half = static_cast<size_t>(config_.head_dim / 2);
    const size_t rows = source.size() / row_bytes;
    for (size_t row = 0; row < rows; ++row) {
      const size_t head = row / (2 * half);
      const size_t in_head = row % (2 * half);
      const size_t to = head * 2 * half + in_head % 2 * half + in_head / 2;
      std::memcpy(out.data() + to * row_bytes, source.data() + row * row_bytes, row_bytes);
    }
  }

  std::shared_ptr<const GgufFile> file_;
  std::string chat_template_;
  Digest fingerprint_;
};

}  // namespace

Result<std::unique_ptr<WeightSource>> OpenGgufWeights(const std::string& path) {
  return GgufWeights::Open(path);
}

}  // namespace msa
