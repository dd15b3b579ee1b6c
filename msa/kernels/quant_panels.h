// Between quant_matmul.cc and the kernels of each Isa: how a quantised matrix is cut and packed.
//
// A panel is `panel_outputs` consecutive outputs over all inputs, one contiguous run of bytes that
// a kernel reads from front to back. The last panel is padded with zero weights, so kernels load
// whole panels and only store what exists.
#pragma once

#include <cstdint>

#include "msa/base/matrix.h"
#include "msa/kernels/quantised_rows.h"

namespace msa {

// Inputs that share a scale and a minimum in WeightFormat::kI4Block: GGUF's block.
inline constexpr int64_t kI4BlockInputs = 32;

// Activations that share a scale in kI8Row: as few as leave the tiles fast (each block costs a tile
// of 14x32 outputs some 80 cycles beside 14 * 32 / 64 * block), and a divisor of 576 and 1536.
inline constexpr int64_t kI8ActivationBlock = 96;

// Bounds the scratch of a row; |sum of a block| <= 255 * 127 * 96 is far from int32's end.
inline constexpr int64_t kMaxInputs = 65536;

struct I8Panels {
  int64_t outputs;
  int64_t inputs;       // a multiple of 32
  const uint8_t* data;  // panel p at data + p * panel_outputs * inputs
  const float* scales;  // [outputs rounded up to whole panels]
};

struct I8Kernels {
  int64_t panel_outputs;
  // `num_outputs` (1 to panel_outputs) rows of int8 in [-127, 127] into one panel.
  void (*pack)(const int8_t* rows, int64_t num_outputs, int64_t inputs, uint8_t* panel);
  // y[:, outputs of panels begin .. end - 1]. x.block is kI8ActivationBlock. The blocks' integer
  // sums are exact, and from block to block t = fma(float(sum), x scale, t), y = t * w scale: equal
  // bit for bit on every Isa.
  void (*multiply)(const I8Panels& w, const QuantisedRows& x, int64_t panel_begin,
                   int64_t panel_end, MatrixView<float> y);
  // int8 of one output row, back from its panel.
  void (*unpack_row)(const uint8_t* panel, int64_t output_in_panel, int64_t inputs, int8_t* row);
};

// w = scale * q + minimum for each block of kI4BlockInputs, q in 0..15. A packed block of a panel
// is 16 * panel_outputs bytes of nibbles, then scales and then minima as f16 [panel_outputs].
struct I4Panels {
  int64_t outputs;
  int64_t inputs;
  const uint8_t* data;  // panel p at data + p * I4PanelBytes(panel_outputs, inputs)
};
inline int64_t I4PanelBytes(int64_t panel_outputs, int64_t inputs) {
  return inputs / kI4BlockInputs * panel_outputs * (kI4BlockInputs / 2 + 4);
}

struct I4Kernels {
  int64_t panel_outputs;
  // q: one value (0..15) a byte, [num_outputs, inputs]; scales and minima: f16 bits,
  // [num_outputs, inputs / 32].
  void (*pack)(const uint8_t* q, const uint16_t* scales, const uint16_t* minima,
               int64_t num_outputs, int64_t inputs, uint8_t* panel);
  // y[:, outputs of panels begin .. end - 1]. x.block is kI4BlockInputs; x_sums [M, blocks]: the
  // scale times the sum of each block's q, which the minima are multiplied by.
  void (*multiply)(const I4Panels& w, const QuantisedRows& x, MatrixView<const float> x_sums,
                   int64_t panel_begin, int64_t panel_end, MatrixView<float> y);
  // One output row as f32.
  void (*dequantise_row)(const uint8_t* panel, int64_t output_in_panel, int64_t inputs, float* row);
};

// kernels/ref, kernels/cpu. The AVX-512 ones run only where IsaSupported says so.
const I8Kernels& ReferenceI8Kernels();
const I8Kernels& Avx2I8Kernels();
const I8Kernels& VnniI8Kernels();
const I4Kernels& ReferenceI4Kernels();
const I4Kernels& Avx2I4Kernels();
const I4Kernels& VnniI4Kernels();

}  // namespace msa
