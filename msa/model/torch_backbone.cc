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

}  // namespace

Result<TorchBackbone> TorchBackbone::Load(const WeightSource& source, at::ScalarType dtype,
                                          at::Device device) {
  TorchBackbone backbone(source.config(), dtype, device);
  Status status;
  const auto read = [&](Weight weight, int64_t layer = -1) {
    const auto [rows, columns] = source.Shape(weight);
    at::Tensor values = at::empty({rows, columns}, at::kFloat);
    const Status read_status = source.Read(
        {weight, layer},
        {values.data_ptr<float>(), static_cast<size_t>(rows) * static_cast<size_t>(columns)});
    if (status.ok()) status = read_status;
    if (rows == 1) values = values.view({columns});
    return values.to(device, dtype);
  };
  backbone.embedding_ = read(Weight::kTokenEmbedding);
  backbone.output_norm_ = read(Weight::kOutputNorm);
  const bool tied = source.config().tied_embeddings;
  backbone.output_ = tied ? backbone.embedding_ : read(Weight::kOutput);
  for (int64_t l = 0; l < source.config().num_layers && status.ok(); ++l) {
    TorchLayer layer;
    layer.attention_norm = read(Weight::kAttentionNorm, l);
    layer.query = read(Weight::kQuery, l);
    layer.key = read(Weight::kKey, l);
    layer.value = read(Weight::kValue, l);
    layer.attention_output = read(Weight::kAttentionOutput, l);
    if (source.config().attention_norms) {
      layer.query_norm = read(Weight::kQueryNorm, l);
      layer.key_norm = read(Weight::kKeyNorm, l);
    }
    layer.mlp_norm = read(Weight::kMlpNorm, l);
    layer.gate = read(Weight::kGate, l);
    layer.up = read(Weight::kUp, l);
    layer.down = read(Weight::kDown, l);
    backbone.layers_.push_back(std::move(layer));
  }
  MSA_RETURN_IF_ERROR(status);
  return backbone;
}

int64_t TorchBackbone::resident_bytes() const {
  const auto elements = config_.num_parameters();
  return elements * static_cast<int64_t>(c10::elementSize(dtype_));
}

at::Tensor TorchBackbone::Embed(const at::Tensor& tokens) const {
  return at::embedding(embedding_, tokens);
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
  return at::linear(Norm(hidden, output_norm_), output_).to(at::kFloat);
}

}  // namespace msa
