#include "msa/kernels/block_ops.h"

#include <algorithm>
#include <cmath>

#include "msa/base/check.h"
#include "msa/kernels/block_rows.h"

namespace msa {
namespace {

// A row between two fused operations: it stays in L1.
std::span<float> RowOfThisThread(int64_t n) {
  thread_local std::vector<float> row;
  row.resize(std::max<size_t>(row.size(), n));
  return std::span(row).first(n);
}

void QuantiseRow(const BlockRows& rows, std::span<const float> x, const QuantisedRows& out,
                 int64_t row) {
  rows.quantise(x.data(), out.q.cols, out.block, out.q.row(row).data(), out.scales.row(row).data());
}

}  // namespace

const BlockRows& BlockRowsFor(Isa isa) {
  switch (isa) {
    case Isa::kReference: return ReferenceBlockRows();
    case Isa::kAvx2: return Avx2BlockRows();
    case Isa::kAvx512Vnni: return Avx512BlockRows();
  }
  MSA_CHECK(false);
}

void QuantiseRows(MatrixView<const float> x, const QuantisedRows& out, Isa isa) {
  MSA_CHECK(out.q.rows == x.rows && out.q.cols == x.cols && out.scales.rows == x.rows);
  MSA_CHECK(out.block > 0 && (out.scales.cols - 1) * out.block < x.cols &&
            out.scales.cols * out.block >= x.cols);
  const BlockRows& rows = BlockRowsFor(isa);
  for (int64_t i = 0; i < x.rows; ++i) QuantiseRow(rows, x.row(i), out, i);
}

void RmsNorm(MatrixView<const float> x, std::span<const float> weight, float epsilon,
             MatrixView<float> y, Isa isa) {
  MSA_CHECK(y.rows == x.rows && y.cols == x.cols && std::ssize(weight) == x.cols);
  const BlockRows& rows = BlockRowsFor(isa);
  for (int64_t i = 0; i < x.rows; ++i)
    rows.rms_norm(x.row(i).data(), weight.data(), x.cols, epsilon, y.row(i).data());
}

void RmsNormQuantised(MatrixView<const float> x, std::span<const float> weight, float epsilon,
                      const QuantisedRows& out, Isa isa) {
  MSA_CHECK(out.q.rows == x.rows && out.q.cols == x.cols && std::ssize(weight) == x.cols);
  const BlockRows& rows = BlockRowsFor(isa);
  const std::span<float> norm = RowOfThisThread(x.cols);
  for (int64_t i = 0; i < x.rows; ++i) {
    rows.rms_norm(x.row(i).data(), weight.data(), x.cols, epsilon, norm.data());
    QuantiseRow(rows, norm, out, i);
  }
}

void SiluGate(MatrixView<const float> gate_up, MatrixView<float> out, Isa isa) {
  MSA_CHECK(out.rows == gate_up.rows && 2 * out.cols == gate_up.cols);
  const BlockRows& rows = BlockRowsFor(isa);
  for (int64_t i = 0; i < out.rows; ++i) {
    const float* gate = gate_up.row(i).data();
    rows.silu_gate(gate, gate + out.cols, out.cols, out.row(i).data());
  }
}

void SiluGateQuantised(MatrixView<const float> gate_up, const QuantisedRows& out, Isa isa) {
  const int64_t cols = out.q.cols;
  MSA_CHECK(out.q.rows == gate_up.rows && 2 * cols == gate_up.cols);
  const BlockRows& rows = BlockRowsFor(isa);
  const std::span<float> product = RowOfThisThread(cols);
  for (int64_t i = 0; i < out.q.rows; ++i) {
    const float* gate = gate_up.row(i).data();
    rows.silu_gate(gate, gate + cols, cols, product.data());
    QuantiseRow(rows, product, out, i);
  }
}

void AddRows(MatrixView<float> x, MatrixView<const float> y, Isa isa) {
  MSA_CHECK(x.rows == y.rows && x.cols == y.cols);
  const BlockRows& rows = BlockRowsFor(isa);
  for (int64_t i = 0; i < x.rows; ++i) rows.add(x.row(i).data(), y.row(i).data(), x.cols);
}

RopeTable::RopeTable(int64_t count, std::span<const float> frequencies)
    : count_(count), half_(std::ssize(frequencies)), cos_(count * half_), sin_(count * half_) {
  for (int64_t position = 0; position < count; ++position) {
    for (int64_t i = 0; i < half_; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      cos_[position * half_ + i] = static_cast<float>(std::cos(angle));
      sin_[position * half_ + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void ApplyRope(MatrixView<float> x, const RopeTable& table, std::span<const int32_t> positions,
               Isa isa) {
  MSA_CHECK(std::ssize(positions) == x.rows && x.cols % table.head_dim() == 0);
  const BlockRows& rows = BlockRowsFor(isa);
  for (int64_t i = 0; i < x.rows; ++i) {
    MSA_CHECK(positions[i] >= 0 && positions[i] < table.count());
    const float* cos = table.cos(positions[i]).data();
    const float* sin = table.sin(positions[i]).data();
    for (int64_t h = 0; h < x.cols; h += table.head_dim())
      rows.rope(x.row(i).data() + h, table.head_dim() / 2, cos, sin);
  }
}

}  // namespace msa
