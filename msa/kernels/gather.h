// Gather brings the selected latents together, so that attention reads one dense block; see
// design.md, Attend.
#pragma once

#include <cstdint>
#include <span>

#include "msa/base/dtype.h"
#include "msa/base/matrix.h"
#include "msa/kernels/isa.h"

namespace msa {

// One run of stored latents: rows of [layers, 2, G, D] elements.
struct LatentRun {
  const void* kv;       // [num_latents, layers, 2, G, D] of dtype
  const float* scales;  // [num_latents, layers, 2, G] for kI8, else null
  int64_t num_latents;
};

// Writes keys and values of one layer, all runs one after another, as f32:
//   k, v [G, total latents, D] (head-major, as attention wants them)
// REQUIRES: 0 <= layer < layers; k and v hold G * total * D values.
void GatherLatents(std::span<const LatentRun> runs, DType dtype, int64_t layers, int64_t layer,
                   int64_t kv_heads, int64_t head_dim, float* k, float* v, Isa isa = BestIsa());

}  // namespace msa
