// Between block_ops.cc and the kernels of each Isa: the same operations on one row.
#pragma once

#include <cstdint>

#include "msa/kernels/isa.h"

namespace msa {

struct BlockRows {
  // See QuantiseRows.
  void (*quantise)(const float* x, int64_t n, int64_t block, int8_t* q, float* scales);
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float epsilon, float* y);
  void (*silu_gate)(const float* gate, const float* up, int64_t n, float* out);
  void (*add)(float* x, const float* y, int64_t n);
  // One head of 2 * half values.
  void (*rope)(float* head, int64_t half, const float* cos, const float* sin);
};

// Blocks below this everywhere quantise to zero: 127 / max |x| would overflow.
inline constexpr float kZeroBlock = 1e-30f;

const BlockRows& ReferenceBlockRows();  // kernels/ref
const BlockRows& Avx2BlockRows();       // kernels/cpu
const BlockRows& Avx512BlockRows();     // kernels/cpu

const BlockRows& BlockRowsFor(Isa isa);

}  // namespace msa
