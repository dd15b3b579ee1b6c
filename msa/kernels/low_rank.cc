#include "msa/kernels/low_rank.h"

#include <cstdint>

#include "msa/base/check.h"
#include "msa/kernels/cpu/target.h"

namespace msa {
namespace {

// A row of w passes once for four of a: reading a is what costs.
[[gnu::always_inline]] inline void AddRows(MatrixView<const float> a, MatrixView<const float> b,
                                           MatrixView<float> w) {
  for (int64_t i = 0; i < w.rows; ++i) {
    float* __restrict row = w.data + i * w.stride;
    int64_t r = 0;
    for (; r + 4 <= a.rows; r += 4) {
      const float* a0 = a.data + r * a.stride;
      const float *a1 = a0 + a.stride, *a2 = a1 + a.stride, *a3 = a2 + a.stride;
      const float* scale = b.data + r * b.stride + i;
      const float b0 = scale[0], b1 = scale[b.stride], b2 = scale[2 * b.stride],
                  b3 = scale[3 * b.stride];
      for (int64_t j = 0; j < w.cols; ++j) {
        row[j] += b0 * a0[j];
        row[j] += b1 * a1[j];
        row[j] += b2 * a2[j];
        row[j] += b3 * a3[j];
      }
    }
    for (; r < a.rows; ++r) {
      const float* from = a.data + r * a.stride;
      const float scale = b.data[r * b.stride + i];
      for (int64_t j = 0; j < w.cols; ++j) row[j] += scale * from[j];
    }
  }
}

void AddRowsPlain(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> w) {
  AddRows(a, b, w);
}

MSA_BEGIN_TARGET(MSA_AVX2_FEATURES)
void AddRowsAvx2(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> w) {
  AddRows(a, b, w);
}
MSA_END_TARGET

}  // namespace

void AddLowRank(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> w,
                Isa isa) {
  MSA_CHECK(a.rows == b.rows && a.cols == w.cols && b.cols == w.rows);
  isa == Isa::kReference ? AddRowsPlain(a, b, w) : AddRowsAvx2(a, b, w);
}

}  // namespace msa
