// Quantised products with AVX2, for processors without VNNI.
//
// 8-bit weights and activations are widened to int16 and multiplied by vpmaddwd: two products of at
// most 127 * 127 in an int32, nothing saturates. (vpmaddubsw would need a sign trick per weight and
// activation, since 2 * 255 * 127 does not fit its int16; measured peak on Zen 4: vpmaddwd 117,
// f32 FMA 59 GMAC/s a core.) The 4-bit kernel does use vpmaddubsw: see below.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "msa/base/dtype.h"
#include "msa/kernels/quant_panels.h"

#define MSA_AVX2 __attribute__((target("avx2,fma,f16c")))

namespace msa {
namespace {

// 16 outputs are two vectors of int32; 6 rows of them are 12 accumulators of the 16 registers.
constexpr int64_t kPanel = 16;
constexpr int kI8TileRows = 6;
// 96 rows of 1536 widened inputs are 295 KB, within L2.
constexpr int64_t kBlockRows = 16 * kI8TileRows;

MSA_AVX2 inline __m256i Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
MSA_AVX2 inline __m256i Widen(const void* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}

void PackI8(const int8_t* rows, int64_t num_outputs, int64_t inputs, uint8_t* panel) {
  for (int64_t k = 0; k < inputs; k += 2) {
    for (int64_t n = 0; n < kPanel; ++n) {
      for (int64_t j = 0; j < 2; ++j)
        *panel++ = static_cast<uint8_t>(n < num_outputs ? rows[n * inputs + k + j] : 0);
    }
  }
}

void UnpackI8(const uint8_t* panel, int64_t n, int64_t inputs, int8_t* row) {
  for (int64_t k = 0; k < inputs; ++k)
    row[k] = static_cast<int8_t>(panel[(k / 2 * kPanel + n) * 2 + k % 2]);
}

// Stores the first `count` of 8 lanes.
MSA_AVX2 inline void StoreLanes(float* y, __m256 value, int64_t count) {
  if (count >= 8) return _mm256_storeu_ps(y, value);
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, value);
  for (int64_t i = 0; i < count; ++i) y[i] = lanes[i];
}

struct I8Tile {
  const uint8_t* panel;
  int64_t inputs;
  const int16_t* x;  // [R, inputs]
  int64_t num_blocks;
  const float* x_scales;  // row r at x_scales + r * scales_stride
  int64_t scales_stride;
  const float* w_scales;  // [kPanel]
  float* y;
  int64_t y_stride;
  int64_t num_outputs;  // of this panel that exist
};

// The integer sums of block `b`, [R, kPanel]. On its own, and out through memory: with arithmetic
// on the sums in the same function GCC 12 keeps the accumulators in memory, at half the speed.
template <int R>
MSA_AVX2 [[gnu::noinline]] void SumI8Block(const I8Tile& t, int64_t b, int32_t* sums) {
  __m256i sum[R][2];
  const int16_t* x[R];
  const int64_t begin = b * kI8ActivationBlock;
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    x[r] = t.x + r * t.inputs + begin;
    sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  }
  const uint8_t* w = t.panel + begin * kPanel;
  const int64_t count = std::min(kI8ActivationBlock, t.inputs - begin);
  for (int64_t k = 0; k < count; k += 2, w += 2 * kPanel) {
    const __m256i w0 = Widen(w);
    const __m256i w1 = Widen(w + 16);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      int32_t two;
      std::memcpy(&two, x[r] + k, sizeof(two));
      const __m256i pair = _mm256_set1_epi32(two);
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(w0, pair));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(w1, pair));
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * kPanel), sum[r][0]);
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * kPanel + 8), sum[r][1]);
  }
}

template <int R>
MSA_AVX2 void MultiplyI8Tile(const I8Tile& t) {
  alignas(32) int32_t sums[R * kPanel];
  alignas(32) float totals[R * kPanel] = {};
  for (int64_t b = 0; b < t.num_blocks; ++b) {
    SumI8Block<R>(t, b, sums);
    for (int r = 0; r < R; ++r) {
      const __m256 scale = _mm256_set1_ps(t.x_scales[r * t.scales_stride + b]);
      for (int i = r * kPanel; i < (r + 1) * kPanel; i += 8) {
        const __m256 sum = _mm256_cvtepi32_ps(Load(sums + i));
        _mm256_store_ps(totals + i, _mm256_fmadd_ps(sum, scale, _mm256_load_ps(totals + i)));
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < 2; ++c) {
      const __m256 total = _mm256_load_ps(totals + r * kPanel + 8 * c);
      StoreLanes(t.y + r * t.y_stride + 8 * c,
                 _mm256_mul_ps(total, _mm256_loadu_ps(t.w_scales + 8 * c)), t.num_outputs - 8 * c);
    }
  }
}

template <int... R>
constexpr auto I8TileTable(std::integer_sequence<int, R...>) {
  return std::array{MultiplyI8Tile<R + 1>...};
}

MSA_AVX2 void WidenRow(const int8_t* x, int64_t inputs, int16_t* out) {
  for (int64_t k = 0; k < inputs; k += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + k), Widen(x + k));
}

void MultiplyI8(const I8Panels& w, const QuantisedRows& x, int64_t begin, int64_t end,
                MatrixView<float> y) {
  static constexpr auto kTiles = I8TileTable(std::make_integer_sequence<int, kI8TileRows>());
  thread_local std::vector<int16_t> wide;  // grows to kBlockRows of the widest matrix, once
  const int64_t inputs = w.inputs;
  wide.resize(std::max<size_t>(wide.size(), std::min(kBlockRows, y.rows) * inputs));
  for (int64_t first = 0; first < y.rows; first += kBlockRows) {
    const int64_t last = std::min(first + kBlockRows, y.rows);
    for (int64_t i = first; i < last; ++i)
      WidenRow(x.q.row(i).data(), inputs, wide.data() + (i - first) * inputs);
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t i = first; i < last; i += kI8TileRows)
        kTiles[std::min<int64_t>(kI8TileRows, last - i) - 1](
            {w.data + p * kPanel * inputs, inputs, wide.data() + (i - first) * inputs,
             x.scales.cols, x.scales.data + i * x.scales.stride, x.scales.stride,
             w.scales + p * kPanel, y.data + i * y.stride + p * kPanel, y.stride,
             std::min(kPanel, w.outputs - p * kPanel)});
    }
  }
}

// 4 bits. A block of 32 inputs is 16 pairs; the low nibbles of a vector hold pair j, the high ones
// pair j + 8, each of 16 outputs. vpmaddubsw multiplies 0..15 by -128..127 and adds the pair: at
// most 15 * 128 * 2 = 3840, and the sum of 8 of them 30720 < 2^15. So low and high nibbles each
// fill one int16 accumulator without saturating.

constexpr int64_t kNibbleBytes = kI4BlockInputs / 2 * kPanel;
constexpr int64_t kI4BlockBytes = kNibbleBytes + 4 * kPanel;
constexpr int kI4TileRows = 2;

void PackI4(const uint8_t* q, const uint16_t* scales, const uint16_t* minima, int64_t num_outputs,
            int64_t inputs, uint8_t* panel) {
  const int64_t blocks = inputs / kI4BlockInputs;
  for (int64_t b = 0; b < blocks; ++b, panel += kI4BlockBytes) {
    std::memset(panel, 0, kI4BlockBytes);
    for (int64_t n = 0; n < num_outputs; ++n) {
      const uint8_t* values = q + n * inputs + b * kI4BlockInputs;
      for (int64_t k = 0; k < kI4BlockInputs / 2; ++k)
        panel[(k / 2 * kPanel + n) * 2 + k % 2] =
            static_cast<uint8_t>(values[k] | values[k + kI4BlockInputs / 2] << 4);
      std::memcpy(panel + kNibbleBytes + 2 * n, &scales[n * blocks + b], 2);
      std::memcpy(panel + kNibbleBytes + 2 * kPanel + 2 * n, &minima[n * blocks + b], 2);
    }
  }
}

void DequantiseI4(const uint8_t* panel, int64_t n, int64_t inputs, float* row) {
  for (int64_t b = 0; b < inputs / kI4BlockInputs; ++b, panel += kI4BlockBytes) {
    F16 scale, minimum;
    std::memcpy(&scale, panel + kNibbleBytes + 2 * n, 2);
    std::memcpy(&minimum, panel + kNibbleBytes + 2 * kPanel + 2 * n, 2);
    for (int64_t k = 0; k < kI4BlockInputs; ++k) {
      const int64_t j = k % (kI4BlockInputs / 2);
      const uint8_t byte = panel[(j / 2 * kPanel + n) * 2 + j % 2];
      const int q = k < kI4BlockInputs / 2 ? byte & 15 : byte >> 4;
      row[b * kI4BlockInputs + k] = ToFloat(scale) * q + ToFloat(minimum);
    }
  }
}

MSA_AVX2 inline __m256 LoadF16(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

MSA_AVX2 inline __m256i BroadcastPair(const int8_t* p) {
  int16_t two;
  std::memcpy(&two, p, sizeof(two));
  return _mm256_set1_epi16(two);
}

// Adds two vectors of 16 int16 as 2 x 8 f32.
MSA_AVX2 inline void AddAsFloat(__m256i a, __m256i b, __m256* low, __m256* high) {
  const __m256i sum_low = _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(a)),
                                           _mm256_cvtepi16_epi32(_mm256_castsi256_si128(b)));
  const __m256i sum_high = _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(a, 1)),
                                            _mm256_cvtepi16_epi32(_mm256_extracti128_si256(b, 1)));
  *low = _mm256_cvtepi32_ps(sum_low);
  *high = _mm256_cvtepi32_ps(sum_high);
}

template <int R>
MSA_AVX2 void MultiplyI4Tile(const uint8_t* panel, int64_t inputs, const QuantisedRows& x,
                             MatrixView<const float> x_sums, int64_t row, float* y,
                             int64_t y_stride, int64_t num_outputs) {
  const __m256i low_nibble = _mm256_set1_epi8(15);
  __m256 value[R][2];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) value[r][0] = value[r][1] = _mm256_setzero_ps();
  const int8_t* xs = x.q.data + row * x.q.stride;
  for (int64_t b = 0; b < inputs / kI4BlockInputs; ++b, panel += kI4BlockBytes) {
    __m256i sum[R][2];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int64_t k = 0; k < kI4BlockInputs / 2; k += 2) {
      const __m256i both = Load(panel + k * kPanel);
      const __m256i low = _mm256_and_si256(both, low_nibble);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low_nibble);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const int8_t* p = xs + r * x.q.stride + b * kI4BlockInputs + k;
        sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(low, BroadcastPair(p)));
        sum[r][1] = _mm256_add_epi16(
            sum[r][1], _mm256_maddubs_epi16(high, BroadcastPair(p + kI4BlockInputs / 2)));
      }
    }
    const uint8_t* scales = panel + kNibbleBytes;
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      __m256 dot[2];
      AddAsFloat(sum[r][0], sum[r][1], &dot[0], &dot[1]);
      const __m256 x_scale = _mm256_set1_ps(x.scales.data[(row + r) * x.scales.stride + b]);
      const __m256 x_sum = _mm256_set1_ps(x_sums.data[(row + r) * x_sums.stride + b]);
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        const __m256 scale = _mm256_mul_ps(LoadF16(scales + 16 * c), x_scale);
        value[r][c] = _mm256_fmadd_ps(scale, dot[c], value[r][c]);
        value[r][c] = _mm256_fmadd_ps(LoadF16(scales + 2 * kPanel + 16 * c), x_sum, value[r][c]);
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c)
      StoreLanes(y + r * y_stride + 8 * c, value[r][c], num_outputs - 8 * c);
}

void MultiplyI4(const I4Panels& w, const QuantisedRows& x, MatrixView<const float> x_sums,
                int64_t begin, int64_t end, MatrixView<float> y) {
  static constexpr std::array kTiles = {MultiplyI4Tile<1>, MultiplyI4Tile<2>};
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t i = 0; i < y.rows; i += kI4TileRows)
      kTiles[std::min<int64_t>(kI4TileRows, y.rows - i) - 1](
          w.data + p * I4PanelBytes(kPanel, w.inputs), w.inputs, x, x_sums, i,
          y.data + i * y.stride + p * kPanel, y.stride, std::min(kPanel, w.outputs - p * kPanel));
  }
}

}  // namespace

const I8Kernels& Avx2I8Kernels() {
  static constexpr I8Kernels kKernels = {kPanel, PackI8, MultiplyI8, UnpackI8};
  return kKernels;
}

const I4Kernels& Avx2I4Kernels() {
  static constexpr I4Kernels kKernels = {kPanel, PackI4, MultiplyI4, DequantiseI4};
  return kKernels;
}

}  // namespace msa
