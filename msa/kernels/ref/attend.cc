// One query row after another, softmax in double.

#include <algorithm>
#include <cmath>
#include <vector>

#include "msa/kernels/attend.h"
#include "msa/kernels/attend_rows.h"

namespace msa {
namespace {

void AttendOne(const AttendRows& a, const float* q, int64_t limit, float* out) {
  constexpr int64_t kTile = KvCache::kKeyTile;
  std::vector<double> weight(limit);
  double max = -INFINITY, sum = 0;
  for (int64_t s = 0; s < limit; ++s) {
    const float* key = a.keys + s / kTile * kTile * a.head_dim + s % kTile;
    double dot = 0;
    for (int64_t i = 0; i < a.head_dim; ++i) dot += static_cast<double>(q[i]) * key[i * kTile];
    weight[s] = dot / std::sqrt(a.head_dim) + (s < a.num_bias ? a.bias[s] : 0);
    max = std::max(max, weight[s]);
  }
  for (double& w : weight) sum += w = std::exp(w - max);
  for (int64_t i = 0; i < a.head_dim; ++i) {
    double value = 0;
    for (int64_t s = 0; s < limit; ++s) value += weight[s] * a.values[s * a.value_stride + i];
    out[i] = static_cast<float>(value / sum);
  }
}

void Attend(const AttendRows& a, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const int64_t token = r / a.group, head = r % a.group;
    AttendOne(a, a.q + token * a.q_stride + head * a.head_dim, a.first_limit + token,
              a.out + token * a.out_stride + head * a.head_dim);
  }
}

}  // namespace

const AttendKernel& ReferenceAttendKernel() {
  static constexpr AttendKernel kKernel = {1, Attend};
  return kKernel;
}

}  // namespace msa
