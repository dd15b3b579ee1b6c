#include "msa/model/torch_backbone.h"

namespace msa {
namespace {

// The two halves of the last dimension turned: (x1, x2) to (-x2, x1).
at::Tensor RotateHalf(const at::Tensor& x) {
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return at::cat({-halves[1], halves[0]}, -1);
}

at::Tensor Rotate(const at::Tensor& x, const Rotation& rotation) {
  return x * rotation.cos + RotateHalf(x) * rotation.sin;
}

// Reads weights onto the device and notes the first that fails.
class WeightReader {
 public:
  WeightReader(const AdaptedWeights& source, at::ScalarType dtype, at::Device device)
      : source_(source), dtype_(dtype), device_(device) {}

  at::Tensor Read(Weight weight, int64_t layer = -1) {
    const auto [rows, columns] = source_.Shape(weight);
    at::Tensor values = at::empty({rows, columns}, at::kFloat);
    const Status read = source_.Read(
        {weight, layer},
        {values.data_ptr<float>(), static_cast<size_t>(rows) * static_cast<size_t>(columns)});
    if (status_.ok()) status_ = read;
    if (rows == 1) values = values.view({columns});
    return values.to(device_, dtype_);
  }

  std::shared_ptr<const TorchEmbeddings> ReadEmbeddings() {
    auto parts = std::make_shared<TorchEmbeddings>();
    parts->embedding = Read(Weight::kTokenEmbedding);
    parts->output_norm = Read(Weight::kOutputNorm);
    parts->output = source_.config().tied_embeddings ? parts->embedding : Read(Weight::kOutput);
    return parts;
  }

  std::shared_ptr<const TorchLayer> ReadLayer(int64_t l) {
    auto layer = std::make_shared<TorchLayer>();
    layer->attention_norm = Read(Weight::kAttentionNorm, l);
    layer->query = Read(Weight::kQuery, l);
    layer->key = Read(Weight::kKey, l);
    layer->value = Read(Weight::kValue, l);
    layer->attention_output = Read(Weight::kAttentionOutput, l);
    if (source_.config().attention_norms) {
      layer->query_norm = Read(Weight::kQueryNorm, l);
      layer->key_norm = Read(Weight::kKeyNorm, l);
    }
    layer->mlp_norm = Read(Weight::kMlpNorm, l);
    layer->gate = Read(Weight::kGate, l);
    layer->up = Read(Weight::kUp, l);
    layer->down = Read(Weight::kDown, l);
    return layer;
  }

  const Status& status() const { return status_; }

 private:
  const AdaptedWeights& source_;
  const at::ScalarType dtype_;
  const at::Device device_;
  Status status_;
};

int64_t BytesOf(std::initializer_list<at::Tensor> tensors) {
  int64_t bytes = 0;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

}  // namespace

int64_t TorchLayer::resident_bytes() const {
  return BytesOf({attention_norm, query, key, value, attention_output, query_norm, key_norm,
                  mlp_norm, gate, up, down});
}

int64_t TorchEmbeddings::resident_bytes() const {
  return BytesOf({embedding, output_norm, output.is_same(embedding) ? at::Tensor() : output});
}

Result<std::unique_ptr<TorchBackbone>> TorchBackbone::Load(const AdaptedWeights& source,
                                                           at::ScalarType dtype, at::Device device,
                                                           Parts parts) {
  WeightReader reader(source, dtype, device);
  if (parts.embeddings == nullptr) parts.embeddings = reader.ReadEmbeddings();
  for (size_t l = 0; l < parts.layers.size() && reader.status().ok(); ++l) {
    if (parts.layers[l] == nullptr) parts.layers[l] = reader.ReadLayer(static_cast<int64_t>(l));
  }
  MSA_RETURN_IF_ERROR(reader.status());
  return std::unique_ptr<TorchBackbone>(
      new TorchBackbone(source.config(), dtype, device, std::move(parts)));
}

at::Tensor TorchBackbone::Embed(const at::Tensor& tokens) const {
  return at::embedding(parts_.embeddings->embedding, tokens);
}

at::Tensor TorchBackbone::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  return at::rms_norm(x, weight.sizes(), weight, config_.norm_epsilon);
}

Rotation TorchBackbone::RotationAt(int64_t first, int64_t count) const {
  const at::Tensor frequencies =
      at::tensor(config_.rope_frequencies, at::TensorOptions().device(device_));
  const at::Tensor positions =
      at::arange(first, first + count, at::TensorOptions(at::kFloat).device(device_));
  const at::Tensor half = at::outer(positions, frequencies);
  const at::Tensor angles = at::cat({half, half}, -1);
  return {angles.cos().to(dtype_), angles.sin().to(dtype_)};
}

at::Tensor TorchBackbone::SplitHeads(const at::Tensor& x, int64_t heads) const {
  return x.view({x.size(0), x.size(1), heads, config_.head_dim}).transpose(1, 2);
}

at::Tensor TorchBackbone::Query(const TorchLayer& layer, const at::Tensor& x,
                                const Rotation& rotation) const {
  at::Tensor q = SplitHeads(at::linear(x, layer.query), config_.num_heads);
  if (config_.attention_norms) q = Norm(q, layer.query_norm);
  return Rotate(q, rotation);
}

at::Tensor TorchBackbone::Key(const TorchLayer& layer, const at::Tensor& x,
                              const Rotation& rotation) const {
  at::Tensor k = SplitHeads(at::linear(x, layer.key), config_.num_kv_heads);
  if (config_.attention_norms) k = Norm(k, layer.key_norm);
  return Rotate(k, rotation);
}

at::Tensor TorchBackbone::Value(const TorchLayer& layer, const at::Tensor& x) const {
  return SplitHeads(at::linear(x, layer.value), config_.num_kv_heads);
}

at::Tensor TorchBackbone::Finish(const TorchLayer& layer, const at::Tensor& hidden,
                                 const at::Tensor& attention) const {
  const at::Tensor joined = attention.transpose(1, 2).flatten(2);
  const at::Tensor middle = hidden + at::linear(joined, layer.attention_output);
  const at::Tensor x = Norm(middle, layer.mlp_norm);
  const at::Tensor gated = at::silu(at::linear(x, layer.gate)) * at::linear(x, layer.up);
  return middle + at::linear(gated, layer.down);
}

at::Tensor TorchBackbone::Logits(const at::Tensor& hidden) const {
  const TorchEmbeddings& parts = *parts_.embeddings;
  return at::linear(Norm(hidden, parts.output_norm), parts.output).to(at::kFloat);
}

}  // namespace msa
