// The operations of block_ops.h as plain loops with double sums.

#include <algorithm>
#include <cmath>

#include "msa/kernels/block_rows.h"

namespace msa {
namespace {

void Quantise(const float* x, int64_t n, int64_t block, int8_t* q, float* scales) {
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(begin + block, n);
    float max = 0;
    for (int64_t i = begin; i < end; ++i) max = std::max(max, std::abs(x[i]));
    const float inverse = max < kZeroBlock ? 0 : 127 / max;
    *scales++ = max < kZeroBlock ? 0 : max / 127;
    for (int64_t i = begin; i < end; ++i)
      q[i] = static_cast<int8_t>(std::nearbyint(x[i] * inverse));
  }
}

void RmsNorm(const float* x, const float* weight, int64_t n, float epsilon, float* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  const double inverse = 1 / std::sqrt(sum / n + epsilon);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * inverse * weight[i]);
}

void SiluGate(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<float>(gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
}

void Add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void Rope(float* head, int64_t half, const float* cos, const float* sin) {
  for (int64_t i = 0; i < half; ++i) {
    const double a = head[i], b = head[i + half];
    head[i] = static_cast<float>(a * cos[i] - b * sin[i]);
    head[i + half] = static_cast<float>(b * cos[i] + a * sin[i]);
  }
}

}  // namespace

const BlockRows& ReferenceBlockRows() {
  static constexpr BlockRows kRows = {Quantise, RmsNorm, SiluGate, Add, Rope};
  return kRows;
}

}  // namespace msa
