// The backbone's layers on libtorch: the plain form of the mathematics, in f32 or bf16, on a CPU or
// a GPU. Everything faster is compared with it. Included by the torch_* sources alone.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "msa/base/status.h"
#include "msa/model/adapted_weights.h"
#include "msa/model/backbone.h"

namespace msa {

struct TorchLayer {
  at::Tensor attention_norm, query, key, value, attention_output;
  at::Tensor query_norm, key_norm;  // undefined unless the backbone has attention_norms
  at::Tensor mlp_norm, gate, up, down;

  int64_t resident_bytes() const;
};

struct TorchEmbeddings {
  at::Tensor embedding, output_norm;
  at::Tensor output;  // the embedding, if they are tied

  int64_t resident_bytes() const;
};

// cos and sin of every position and dimension, [T, D] each: row t turns the token at position t.
struct Rotation {
  at::Tensor cos;
  at::Tensor sin;
};

class TorchBackbone {
 public:
  // Backbones with and without an adapter's updates share them.
  struct Parts {
    std::shared_ptr<const TorchEmbeddings> embeddings;
    std::vector<std::shared_ptr<const TorchLayer>> layers;
  };

  // Loads the parts that are null; as many layers as `parts` has.
  static Result<std::unique_ptr<TorchBackbone>> Load(const AdaptedWeights& source,
                                                     at::ScalarType dtype, at::Device device,
                                                     Parts parts);

  const BackboneConfig& config() const { return config_; }
  const Parts& parts() const { return parts_; }
  // REQUIRES: i is one of the layers that were loaded.
  const TorchLayer& layer(int64_t i) const { return *parts_.layers[static_cast<size_t>(i)]; }
  at::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }

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
  TorchBackbone(BackboneConfig config, at::ScalarType dtype, at::Device device, Parts parts)
      : config_(std::move(config)), dtype_(dtype), device_(device), parts_(std::move(parts)) {}
  at::Tensor SplitHeads(const at::Tensor& x, int64_t heads) const;

  BackboneConfig config_;
  at::ScalarType dtype_;
  at::Device device_;
  Parts parts_;
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
