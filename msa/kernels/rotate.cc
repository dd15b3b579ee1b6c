#include "msa/kernels/rotate.h"

#include <cmath>

#include "msa/base/check.h"

namespace msa {

void RotateRows(MatrixView<float> x) {
  MSA_CHECK(x.cols > 0);
  const int64_t block = x.cols & -x.cols;
  const float norm = 1 / std::sqrt(static_cast<float>(block));
  for (int64_t r = 0; r < x.rows; ++r) {
    float* row = x.row(r).data();
    for (int64_t half = 1; half < block; half *= 2) {
      for (int64_t begin = 0; begin < x.cols; begin += 2 * half) {
        for (int64_t i = begin; i < begin + half; ++i) {
          const float a = row[i], b = row[i + half];
          row[i] = a + b;
          row[i + half] = a - b;
        }
      }
    }
    for (int64_t i = 0; i < x.cols; ++i) row[i] *= norm;
  }
}

}  // namespace msa
