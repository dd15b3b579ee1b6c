// Quantised products with AVX-512 VNNI: vpdpbusd adds four products of u8 and s8 to an int32.
//
// The weights are the unsigned operand (stored as w + 128), because the signed one can then be
// activations as they lie in memory: sum (w + 128) a = sum w a + 128 sum a, and accumulators start
// at -128 times the sum of a block's activations.
//
// Intrinsics rather than Highway: Debian's 1.0.3 has no 8-bit dot product.

// GCC 12 warns of its own _mm512_undefined_ps (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "msa/base/dtype.h"
#include "msa/kernels/quant_panels.h"

// After all headers: only what follows may use these instructions.
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

namespace msa {
namespace {

// 32 outputs are two vectors; 14 rows of them are 28 accumulators, which leaves registers for two
// weights and one activation, and needs 16 loads for 28 products. Zen 4 does one 512-bit vpdpbusd
// a cycle; alone in L1 and L2, 14x2, 8x3 and 6x4 reach 99 % of that and 12x2 95 %. The panel of 576
// inputs is 18 KB and so stays in L1 while the rows pass from L2.
constexpr int64_t kPanel = 32;
constexpr int kVectors = 2;
constexpr int kI8TileRows = 14;
// 280 rows of 1536 inputs are 430 KB: under half of Zen 4's L2.
constexpr int64_t kBlockRows = 20 * kI8TileRows;

inline __m512i Broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}

// The lanes of vector `c` that lie before output `end`.
inline __mmask16 LanesBefore(int64_t end, int64_t c) {
  const int64_t left = end - 16 * c;
  return left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
}

void PackI8(const int8_t* rows, int64_t num_outputs, int64_t inputs, uint8_t* panel) {
  for (int64_t k = 0; k < inputs; k += 4) {
    for (int64_t n = 0; n < kPanel; ++n) {
      for (int64_t j = 0; j < 4; ++j)
        *panel++ = static_cast<uint8_t>(128 + (n < num_outputs ? rows[n * inputs + k + j] : 0));
    }
  }
}

void UnpackI8(const uint8_t* panel, int64_t n, int64_t inputs, int8_t* row) {
  for (int64_t k = 0; k < inputs; ++k)
    row[k] = static_cast<int8_t>(panel[(k / 4 * kPanel + n) * 4 + k % 4] - 128);
}

// -128 times the sum of each block of a row.
void BlockSums(const int8_t* x, int64_t inputs, int32_t* sums) {
  const __m256i shift = _mm256_set1_epi8(static_cast<char>(128));
  for (int64_t k = 0; k < inputs; k += kI8ActivationBlock) {
    __m256i sum = _mm256_setzero_si256();
    for (int64_t j = k; j < std::min(k + kI8ActivationBlock, inputs); j += 32)
      sum = _mm256_dpbusd_epi32(sum, shift,
                                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + j)));
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    *sums++ = -_mm_cvtsi128_si32(half);
  }
}

struct I8Tile {
  const uint8_t* panel;
  int64_t inputs;
  const int8_t* x;
  int64_t x_stride;
  const int32_t* block_sums;  // [R, blocks]
  int64_t num_blocks;
  const float* x_scales;  // row r at x_scales + r * scales_stride
  int64_t scales_stride;
  const float* w_scales;  // [kPanel]
  float* y;
  int64_t y_stride;
  int64_t num_outputs;  // of this panel that exist
};

// The integer sums of block `b`, [R, kPanel]. On its own, and out through memory: with arithmetic
// on the sums in the same function GCC 12 stores every accumulator in every round, at half the
// speed.
template <int R>
[[gnu::noinline]] void SumI8Block(const I8Tile& t, int64_t b, int32_t* sums) {
  __m512i sum[R][kVectors];
  const int8_t* x[R];
  const int64_t begin = b * kI8ActivationBlock;
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
    x[r] = t.x + r * t.x_stride + begin;
    sum[r][0] = sum[r][1] = _mm512_set1_epi32(t.block_sums[r * t.num_blocks + b]);
  }
  const uint8_t* w = t.panel + begin * kPanel;
  const int64_t count = std::min(kI8ActivationBlock, t.inputs - begin);
  for (int64_t k = 0; k < count; k += 4, w += 4 * kPanel) {
    const __m512i w0 = _mm512_load_si512(w);
    const __m512i w1 = _mm512_load_si512(w + 64);
#pragma GCC unroll 14
    for (int r = 0; r < R; ++r) {
      const __m512i four = Broadcast4(x[r] + k);
      sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], w0, four);
      sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], w1, four);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
    _mm512_store_si512(sums + r * kPanel, sum[r][0]);
    _mm512_store_si512(sums + r * kPanel + 16, sum[r][1]);
  }
}

template <int R>
void MultiplyI8Tile(const I8Tile& t) {
  alignas(64) int32_t sums[R * kPanel];
  alignas(64) float totals[R * kPanel] = {};
  for (int64_t b = 0; b < t.num_blocks; ++b) {
    SumI8Block<R>(t, b, sums);
    for (int r = 0; r < R; ++r) {
      const __m512 scale = _mm512_set1_ps(t.x_scales[r * t.scales_stride + b]);
      for (int i = r * kPanel; i < (r + 1) * kPanel; i += 16) {
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + i));
        _mm512_store_ps(totals + i, _mm512_fmadd_ps(sum, scale, _mm512_load_ps(totals + i)));
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kVectors; ++c) {
      const __m512 total = _mm512_load_ps(totals + r * kPanel + 16 * c);
      _mm512_mask_storeu_ps(t.y + r * t.y_stride + 16 * c, LanesBefore(t.num_outputs, c),
                            _mm512_mul_ps(total, _mm512_loadu_ps(t.w_scales + 16 * c)));
    }
  }
}

template <int... R>
constexpr auto I8TileTable(std::integer_sequence<int, R...>) {
  return std::array<void (*)(const I8Tile&), sizeof...(R)>{MultiplyI8Tile<R + 1>...};
}

void MultiplyI8(const I8Panels& w, const QuantisedRows& x, int64_t begin, int64_t end,
                MatrixView<float> y) {
  static constexpr auto kTiles = I8TileTable(std::make_integer_sequence<int, kI8TileRows>());
  const int64_t blocks = x.scales.cols;
  thread_local std::vector<int32_t> sums;  // grows to kBlockRows of the widest matrix, once
  sums.resize(std::max<size_t>(sums.size(), std::min(kBlockRows, y.rows) * blocks));
  for (int64_t first = 0; first < y.rows; first += kBlockRows) {
    const int64_t last = std::min(first + kBlockRows, y.rows);
    for (int64_t i = first; i < last; ++i)
      BlockSums(x.q.row(i).data(), w.inputs, sums.data() + (i - first) * blocks);
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t i = first; i < last; i += kI8TileRows)
        kTiles[std::min<int64_t>(kI8TileRows, last - i) - 1](
            {w.data + p * kPanel * w.inputs, w.inputs, x.q.data + i * x.q.stride, x.q.stride,
             sums.data() + (i - first) * blocks, blocks, x.scales.data + i * x.scales.stride,
             x.scales.stride, w.scales + p * kPanel, y.data + i * y.stride + p * kPanel, y.stride,
             std::min(kPanel, w.outputs - p * kPanel)});
    }
  }
}

// 4 bits. A block of 32 inputs is 8 groups of 4; the low nibbles of a vector hold group j, the high
// ones group j + 4, each of 16 outputs. Nibbles are unsigned already: nothing to shift.

constexpr int64_t kNibbleBytes = kI4BlockInputs / 2 * kPanel;
constexpr int64_t kI4BlockBytes = kNibbleBytes + 4 * kPanel;
// 6 rows: 12 accumulators in int32 and 12 in f32.
constexpr int kI4TileRows = 6;

void PackI4(const uint8_t* q, const uint16_t* scales, const uint16_t* minima, int64_t num_outputs,
            int64_t inputs, uint8_t* panel) {
  const int64_t blocks = inputs / kI4BlockInputs;
  for (int64_t b = 0; b < blocks; ++b, panel += kI4BlockBytes) {
    std::memset(panel, 0, kI4BlockBytes);
    for (int64_t n = 0; n < num_outputs; ++n) {
      const uint8_t* values = q + n * inputs + b * kI4BlockInputs;
      for (int64_t k = 0; k < kI4BlockInputs / 2; ++k)
        panel[(k / 4 * kPanel + n) * 4 + k % 4] =
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
      const uint8_t byte = panel[(j / 4 * kPanel + n) * 4 + j % 4];
      const int q = k < kI4BlockInputs / 2 ? byte & 15 : byte >> 4;
      row[b * kI4BlockInputs + k] = ToFloat(scale) * q + ToFloat(minimum);
    }
  }
}

inline __m512 LoadF16(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <int R>
void MultiplyI4Tile(const uint8_t* panel, int64_t inputs, const QuantisedRows& x,
                    MatrixView<const float> x_sums, int64_t row, float* y, int64_t y_stride,
                    int64_t num_outputs) {
  const __m512i low_nibble = _mm512_set1_epi8(15);
  __m512 value[R][kVectors];
  const int8_t* xs[R];

#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    value[r][0] = value[r][1] = _mm512_setzero_ps();
    xs[r] = x.q.data + (row + r) * x.q.stride;
  }
  for (int64_t b = 0; b < inputs / kI4BlockInputs; ++b, panel += kI4BlockBytes) {
    __m512i sum[R][kVectors];

#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    }
    for (int64_t k = 0; k < kI4BlockInputs / 2; k += 4) {
      __m512i low[kVectors], high[kVectors];

#pragma GCC unroll 2
      for (int c = 0; c < kVectors; ++c) {
        const __m512i both = _mm512_load_si512(panel + k * kPanel + 64 * c);
        low[c] = _mm512_and_si512(both, low_nibble);
        high[c] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_nibble);
      }

#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const int8_t* p = xs[r] + b * kI4BlockInputs + k;
        const __m512i first = Broadcast4(p), second = Broadcast4(p + kI4BlockInputs / 2);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], low[0], first);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], low[1], first);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], high[0], second);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], high[1], second);
      }
    }

#pragma GCC unroll 2
    for (int c = 0; c < kVectors; ++c) {
      const __m512 scale = LoadF16(panel + kNibbleBytes + 32 * c);
      const __m512 minimum = LoadF16(panel + kNibbleBytes + 2 * kPanel + 32 * c);

#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const __m512 x_scale = _mm512_set1_ps(x.scales.data[(row + r) * x.scales.stride + b]);
        const __m512 x_sum = _mm512_set1_ps(x_sums.data[(row + r) * x_sums.stride + b]);
        value[r][c] = _mm512_fmadd_ps(_mm512_mul_ps(scale, x_scale), _mm512_cvtepi32_ps(sum[r][c]),
                                      value[r][c]);
        value[r][c] = _mm512_fmadd_ps(minimum, x_sum, value[r][c]);
      }
    }
  }

#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int c = 0; c < kVectors; ++c) {
      _mm512_mask_storeu_ps(y + r * y_stride + 16 * c, LanesBefore(num_outputs, c), value[r][c]);
    }
  }
}

template <int... R>
constexpr auto I4TileTable(std::integer_sequence<int, R...>) {
  return std::array{MultiplyI4Tile<R + 1>...};
}

void MultiplyI4(const I4Panels& w, const QuantisedRows& x, MatrixView<const float> x_sums,
                int64_t begin, int64_t end, MatrixView<float> y) {
  static constexpr auto kTiles = I4TileTable(std::make_integer_sequence<int, kI4TileRows>());
  for (int64_t block = 0; block < y.rows; block += kBlockRows) {
    const int64_t block_end = std::min(block + kBlockRows, y.rows);
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t i = block; i < block_end; i += kI4TileRows)
        kTiles[std::min<int64_t>(kI4TileRows, block_end - i) - 1](
            w.data + p * I4PanelBytes(kPanel, w.inputs), w.inputs, x, x_sums, i,
            y.data + i * y.stride + p * kPanel, y.stride, std::min(kPanel, w.outputs - p * kPanel));
    }
  }
}

}  // namespace

const I8Kernels& VnniI8Kernels() {
  static constexpr I8Kernels kKernels = {kPanel, PackI8, MultiplyI8, UnpackI8};
  return kKernels;
}

const I4Kernels& VnniI4Kernels() {
  static constexpr I4Kernels kKernels = {kPanel, PackI4, MultiplyI4, DequantiseI4};
  return kKernels;
}

}  // namespace msa
#pragma GCC pop_options
