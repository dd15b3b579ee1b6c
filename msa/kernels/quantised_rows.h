// Rows of activations in int8, as products with QuantMatrix read them.
//
// A row is cut into blocks with a scale each, because a few channels of a transformer are ten times
// larger than the rest: with one scale a row they leave 4 bits for all others. (Measured on
// SmolLM2-135M, activations alone in int8, KL divergence of the next token from f32: 0.035 with a
// scale a row, 0.013 with one for 192 values, 0.007 for 96, 0.003 for 32.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "msa/base/matrix.h"
#include "msa/kernels/isa.h"

namespace msa {

struct QuantisedRows {
  int64_t block = 0;         // values that share a scale; the last block of a row may be shorter
  MatrixView<int8_t> q;      // [M, K], -127..127
  MatrixView<float> scales;  // [M, ceil(K / block)]: value = scale * q
};

// q = x * (127 / max |x|) rounded to nearest even, scale = max |x| / 127, block by block. A block
// below 1e-30 everywhere gives zeros and scale 0. The same bits on every Isa. REQUIRES: finite x.
void QuantiseRows(MatrixView<const float> x, const QuantisedRows& out, Isa isa = BestIsa());

// Owns such rows; grows, and never shrinks.
class QuantisedBuffer {
 public:
  // What the rows held before is lost.
  QuantisedRows Resize(int64_t rows, int64_t cols, int64_t block) {
    const int64_t blocks = (cols + block - 1) / block;
    q_.resize(std::max(q_.size(), static_cast<size_t>(rows * cols)));
    scales_.resize(std::max(scales_.size(), static_cast<size_t>(rows * blocks)));
    return {block, {q_.data(), rows, cols}, {scales_.data(), rows, blocks}};
  }

 private:
  std::vector<int8_t> q_;
  std::vector<float> scales_;
};

}  // namespace msa
