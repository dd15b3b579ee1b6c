#include "msa/model/backbone.h"

namespace msa {

int64_t BackboneConfig::num_parameters() const {
  const int64_t attention = 2 * hidden_size * (query_size() + kv_size());
  const int64_t mlp = 3 * hidden_size * intermediate_size;
  const int64_t norms = 2 * hidden_size + (attention_norms ? 2 * head_dim : 0);
  const int64_t embeddings = (tied_embeddings ? 1 : 2) * vocab_size * hidden_size;
  return num_layers * (attention + mlp + norms) + embeddings + hidden_size;
}

std::string_view WeightModeName(WeightMode mode) {
  switch (mode) {
    case WeightMode::kAuto: return "auto";
    case WeightMode::kF32: return "f32";
    case WeightMode::kBF16: return "bf16";
    case WeightMode::kI8: return "i8";
    case WeightMode::kI4: return "i4";
  }
  return "unknown";
}

}  // namespace msa
