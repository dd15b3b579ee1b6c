// Between attend.cc and the kernels of each Isa: some query rows of one key/value head.
#pragma once

#include <cstdint>

namespace msa {

struct AttendRows {
  int64_t head_dim;      // D
  const float* keys;     // [tiles, D, KvCache::kKeyTile]
  const float* values;   // [entries, value_stride], zeros from D on
  int64_t value_stride;  // a multiple of kKeyTile
  const float* bias;     // [num_bias], added to the logits of the first entries
  int64_t num_bias;

  // Row r is query head r % group of the key/value head for token r / group.
  int64_t group;
  const float* q;  // token t, head j at q + t * q_stride + j * D
  int64_t q_stride;
  float* out;  // likewise
  int64_t out_stride;
  int64_t first_limit;  // token t attends to the first first_limit + t entries
};

// Rows row_begin .. row_end - 1; an Isa's rows_at_once of them share what they read.
struct AttendKernel {
  int64_t rows_at_once;
  void (*attend)(const AttendRows& a, int64_t row_begin, int64_t row_end);
};

const AttendKernel& ReferenceAttendKernel();  // kernels/ref
const AttendKernel& Avx2AttendKernel();       // kernels/cpu
const AttendKernel& Avx512AttendKernel();     // kernels/cpu

}  // namespace msa
