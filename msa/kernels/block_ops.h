// What stands between the products of a transformer block: norms, rotary positions, the gated
// activation, residuals. A row is a token. Each runs on the calling thread: split rows over threads
// outside, so that a thread keeps its tokens in its own cache from one operation to the next.
//
// Every Isa agrees with the reference to a few units in the last place (tests state the bound).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msa/base/matrix.h"
#include "msa/kernels/isa.h"
#include "msa/kernels/quantised_rows.h"

namespace msa {

// y = x / sqrt(mean of x^2 + epsilon) * weight, row by row. x, y [M, K]; weight [K]. y may be x.
void RmsNorm(MatrixView<const float> x, std::span<const float> weight, float epsilon,
             MatrixView<float> y, Isa isa = BestIsa());

// QuantiseRows of RmsNorm, without writing the norm to memory.
void RmsNormQuantised(MatrixView<const float> x, std::span<const float> weight, float epsilon,
                      const QuantisedRows& out, Isa isa = BestIsa());

// out = gate / (1 + exp(-gate)) * up, for gate_up [M, 2 K] with the gate in the first K columns,
// as one product with both matrices, gate above up, gives it. out [M, K], not overlapping.
void SiluGate(MatrixView<const float> gate_up, MatrixView<float> out, Isa isa = BestIsa());

// QuantiseRows of SiluGate.
void SiluGateQuantised(MatrixView<const float> gate_up, const QuantisedRows& out,
                       Isa isa = BestIsa());

// x += y.
void AddRows(MatrixView<float> x, MatrixView<const float> y, Isa isa = BestIsa());

// cos and sin of position * frequencies[i] for positions [0, count). A head has two values for each
// frequency; how a model scales its rope is in the frequencies.
class RopeTable {
 public:
  RopeTable(int64_t count, std::span<const float> frequencies);

  int64_t count() const { return count_; }
  int64_t head_dim() const { return 2 * half_; }
  std::span<const float> cos(int64_t position) const { return Row(cos_, position); }
  std::span<const float> sin(int64_t position) const { return Row(sin_, position); }

 private:
  std::span<const float> Row(const std::vector<float>& table, int64_t position) const {
    MSA_DCHECK(position >= 0 && position < count_);
    return std::span(table).subspan(position * half_, half_);
  }

  int64_t count_;
  int64_t half_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

// Rotates every head of every row in place by its row's position; the partner of value i is value
// i + head_dim / 2 (the order of Hugging Face's Llama weights). x [M, heads * head_dim]; positions
// [M], each below table.count() (checked).
void ApplyRope(MatrixView<float> x, const RopeTable& table, std::span<const int32_t> positions,
               Isa isa = BestIsa());

}  // namespace msa
