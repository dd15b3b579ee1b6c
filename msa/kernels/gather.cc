#include "msa/kernels/gather.h"

#include "msa/base/check.h"
#include "msa/kernels/convert.h"

namespace msa {

void GatherLatents(std::span<const LatentRun> runs, DType dtype, int64_t layers, int64_t layer,
                   int64_t kv_heads, int64_t head_dim, float* k, float* v, Isa isa) {
  MSA_CHECK(layer >= 0 && layer < layers && kv_heads > 0 && head_dim > 0);
  const auto load = ChooseConversion(dtype, isa).load;
  int64_t total = 0;
  for (const LatentRun& run : runs) {
    MSA_CHECK(run.num_latents == 0 || (run.scales != nullptr) == (dtype == DType::kI8));
    total += run.num_latents;
  }
  const int64_t layer_heads = 2 * kv_heads;
  int64_t latent = 0;
  for (const LatentRun& run : runs) {
    for (int64_t i = 0; i < run.num_latents; ++i, ++latent) {
      const int64_t first_head = (i * layers + layer) * layer_heads;
      for (int64_t h = 0; h < layer_heads; ++h) {
        const int64_t head = first_head + h;
        const auto* from =
            static_cast<const std::byte*>(run.kv) + head * head_dim * DTypeSize(dtype);
        float* to = (h < kv_heads ? k : v) + (h % kv_heads * total + latent) * head_dim;
        load(from, head_dim, run.scales ? run.scales[head] : 1.0f, to);
      }
    }
  }
}

}  // namespace msa
