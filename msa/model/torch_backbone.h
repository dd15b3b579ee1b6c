// The backbone's layers on libtorch: the plain form of the mathematics, in f32 or bf16, on a CPU or
// a GPU. Everything faster is compared with it. Included by the torch_* sources alone.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "msa/base/status.h"
#include "msa/model/backbone.h"
#include "msa/model/weight_source.h"

namespace msa {

struct TorchLayer {
  at::Tensor attention_norm, query, key, value, attention_output;
  at::Tensor query_norm, key_norm;  // undefined unless the backbone has attention_norms
  at::Tensor mlp_norm, gate, up, down;
};

// cos and sin of every position and dimension, [T, D] each: row t turns the token at position t.
struct Rotation {
  at::Tensor cos;
  at::Tensor sin;
};

class TorchBackbone {
 public:
  static Result<TorchBackbone> Load(const WeightSource& source, at::ScalarType dtype,
                                    at::Device device);

  const BackboneConfig& config() const { return config_; }
  const TorchLayer& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  at::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }
  int64_t resident_bytes() const;

  // [...] token ids to [..., hidden].
  at::Tensor Embed(const at::Tensor& tokens) const;
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  // Positions first, first + 1, …
  Rotation RotationAt(int64_t first, int64_t count) const;

  // From the normalised input of a layer, [B, T, hidden], to heads [B, heads, T, D]; queries and
  // keys normalised (Qwen3) and rotated.
  at::Tensor Query(const TorchLayer& layer, const at::Tensor& x, const Rotation& rotation) const;
  at::Tensor Key(const TorchLayer& layer, const at::Tensor& x, const Rotation& rotation) const;
  at::Tensor Value(const TorchLayer& layer, const at::Tensor& x) const;

  // The rest of a layer: hidden [B, T, hidden] plus attention [B, H, T, D], then the MLP.
  at::Tensor Finish(const TorchLayer& layer, const at::Tensor& hidden,
                    const at::Tensor& attention) const;
  // [..., hidden] to f32 [..., vocab].
  at::Tensor Logits(const at::Tensor& hidden) const;

 private:
  TorchBackbone(BackboneConfig config, at::ScalarType dtype, at::Device device)
      : config_(std::move(config)), dtype_(dtype), device_(device) {}
  at::Tensor SplitHeads(const at::Tensor& x, int64_t heads) const;

  BackboneConfig config_;
  at::ScalarType dtype_;
  at::Device device_;
  at::Tensor embedding_;
  at::Tensor output_norm_;
  at::Tensor output_;
  std::vector<TorchLayer> layers_;
};

// Runs `f`, which returns a Status or a Result, without autograd; libtorch's exceptions become
// kResourceExhausted (memory) or kInternal.
template <class F>
auto WithTorch(F f) -> decltype(f()) {
  const c10::InferenceMode guard;
  try {
    return f();
  } catch (const c10::OutOfMemoryError& error) {
    return ResourceExhausted(error.what_without_backtrace());
  } catch (const c10::Error& error) {
    return Internal(error.what_without_backtrace());
  }
}

}  // namespace msa
