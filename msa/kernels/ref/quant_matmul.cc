// Quantised products as plain loops: a panel is one output row, in the order of the inputs.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "msa/base/dtype.h"
#include "msa/kernels/quant_panels.h"

namespace msa {
namespace {

void PackI8(const int8_t* rows, int64_t, int64_t inputs, uint8_t* panel) {
  std::memcpy(panel, rows, inputs);
}

void UnpackI8(const uint8_t* panel, int64_t, int64_t inputs, int8_t* row) {
  std::memcpy(row, panel, inputs);
}

void MultiplyI8(const I8Panels& w, const QuantisedRows& x, int64_t begin, int64_t end,
                MatrixView<float> y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t n = begin; n < end; ++n) {
      const int8_t* row = reinterpret_cast<const int8_t*>(w.data) + n * w.inputs;
      float total = 0;
      for (int64_t k = 0; k < w.inputs; k += x.block) {
        int32_t sum = 0;
        for (int64_t j = k; j < std::min(k + x.block, w.inputs); ++j) sum += x.q.row(i)[j] * row[j];
        total = std::fma(static_cast<float>(sum), x.scales.row(i)[k / x.block], total);
      }
      y.row(i)[n] = total * w.scales[n];
    }
  }
}

// A packed block of one output: 16 bytes of nibbles (input j low, input j + 16 high), scale,
// minimum.
constexpr int64_t kBlockBytes = kI4BlockInputs / 2 + 4;

struct Block {
  int q[kI4BlockInputs];
  float scale;
  float minimum;
};

Block ReadBlock(const uint8_t* bytes) {
  Block block;
  for (int64_t j = 0; j < kI4BlockInputs / 2; ++j) {
    block.q[j] = bytes[j] & 15;
    block.q[j + kI4BlockInputs / 2] = bytes[j] >> 4;
  }
  F16 half[2];
  std::memcpy(half, bytes + kI4BlockInputs / 2, sizeof(half));
  block.scale = ToFloat(half[0]);
  block.minimum = ToFloat(half[1]);
  return block;
}

void PackI4(const uint8_t* q, const uint16_t* scales, const uint16_t* minima, int64_t,
            int64_t inputs, uint8_t* panel) {
  for (int64_t b = 0; b < inputs / kI4BlockInputs; ++b, panel += kBlockBytes) {
    const uint8_t* values = q + b * kI4BlockInputs;
    for (int64_t j = 0; j < kI4BlockInputs / 2; ++j)
      panel[j] = static_cast<uint8_t>(values[j] | values[j + kI4BlockInputs / 2] << 4);
    std::memcpy(panel + kI4BlockInputs / 2, &scales[b], 2);
    std::memcpy(panel + kI4BlockInputs / 2 + 2, &minima[b], 2);
  }
}

void DequantiseI4(const uint8_t* panel, int64_t, int64_t inputs, float* row) {
  for (int64_t b = 0; b < inputs / kI4BlockInputs; ++b) {
    const Block block = ReadBlock(panel + b * kBlockBytes);
    for (int64_t j = 0; j < kI4BlockInputs; ++j)
      row[b * kI4BlockInputs + j] = block.scale * block.q[j] + block.minimum;
  }
}

void MultiplyI4(const I4Panels& w, const QuantisedRows& x, MatrixView<const float> x_sums,
                int64_t begin, int64_t end, MatrixView<float> y) {
  for (int64_t i = 0; i < y.rows; ++i) {
    for (int64_t n = begin; n < end; ++n) {
      const uint8_t* panel = w.data + n * I4PanelBytes(1, w.inputs);
      double sum = 0;
      for (int64_t b = 0; b < w.inputs / kI4BlockInputs; ++b) {
        const Block block = ReadBlock(panel + b * kBlockBytes);
        int32_t dot = 0;
        for (int64_t j = 0; j < kI4BlockInputs; ++j)
          dot += x.q.row(i)[b * kI4BlockInputs + j] * block.q[j];
        sum += static_cast<double>(block.scale) * x.scales.row(i)[b] * dot +
               static_cast<double>(block.minimum) * x_sums.row(i)[b];
      }
      y.row(i)[n] = static_cast<float>(sum);
    }
  }
}

}  // namespace

const I8Kernels& ReferenceI8Kernels() {
  static constexpr I8Kernels kKernels = {1, PackI8, MultiplyI8, UnpackI8};
  return kKernels;
}

const I4Kernels& ReferenceI4Kernels() {
  static constexpr I4Kernels kKernels = {1, PackI4, MultiplyI4, DequantiseI4};
  return kKernels;
}

}  // namespace msa
