// Products with weights kept in 8 or 4 bits: large ones (encoding, bound by arithmetic) and one-row
// ones (decoding, bound by reading the weights).
//
// Activations are quantised on the fly (quantised_rows.h). Integer products within a block of
// inputs, f32 between blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "msa/base/gguf.h"
#include "msa/base/matrix.h"
#include "msa/base/status.h"
#include "msa/base/threads.h"
#include "msa/kernels/isa.h"
#include "msa/kernels/quantised_rows.h"

namespace msa {

enum class WeightFormat {
  kI8Row,    // 8 bits, one f32 scale for each output row
  kI4Block,  // 4 bits, f16 scale and minimum for each 32 values of a row: Q4_0 and Q4_1 exactly
};

// A weight matrix [outputs, inputs] laid out for the product kernels of one Isa. Immutable; shared
// by threads. Inputs are a multiple of 32 and at most 65536; outputs at least 1.
//
// kI8Row gives the same bits on every Isa and for any number of rows and threads; kI4Block the same
// bits for any number of rows and threads of one Isa.
class QuantMatrix {
 public:
  // Rounds to nearest. kInvalidArgument: the shape; a value that is not finite.
  static Result<std::unique_ptr<QuantMatrix>> FromF32(MatrixView<const float> weights,
                                                      WeightFormat format, Isa isa = BestIsa());
  // From GGUF blocks of Q4_0 or Q4_1 without loss (kI4Block). kInvalidArgument: the shape, another
  // type, sizes that differ, a Q4_0 scale above f16's largest / 8.
  static Result<std::unique_ptr<QuantMatrix>> FromGguf(GgmlType type,
                                                       std::span<const std::byte> blocks,
                                                       int64_t outputs, int64_t inputs,
                                                       Isa isa = BestIsa());
  virtual ~QuantMatrix() = default;

  virtual int64_t outputs() const = 0;
  virtual int64_t inputs() const = 0;
  virtual WeightFormat format() const = 0;
  virtual int64_t resident_bytes() const = 0;
  // Row `output` as f32 (embedding look-up when embedding and output head are tied).
  virtual void DequantizeRow(int64_t output, std::span<float> out) const = 0;

  // y = x * W^T. x [M, inputs] f32, finite; y [M, outputs] f32, not overlapping. Any M >= 1. `pool`
  // null: this thread alone. Keeps int8 scratch of x's size with the calling thread.
  virtual void Multiply(MatrixView<const float> x, MatrixView<float> y, ThreadPool* pool) const = 0;

  // Values of an input row that share a scale; depends on the format alone.
  virtual int64_t activation_block() const = 0;
  // The same with rows already quantised, as what stands before a product can do (block_ops.h).
  // REQUIRES: x.block == activation_block().
  virtual void MultiplyQuantised(const QuantisedRows& x, MatrixView<float> y,
                                 ThreadPool* pool) const = 0;
};

}  // namespace msa
