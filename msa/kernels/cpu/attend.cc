// Attention as two small f32 products around a softmax, in Highway for AVX2 and AVX-512: a block of
// query rows (tokens x heads of a group) against all keys it may see, then its weights against the
// values. The block's logits stay in L1.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "msa/kernels/attend.h"
#include "msa/kernels/attend_rows.h"

// The two levels of Isa that have kernels; below them the reference runs.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msa/kernels/cpu/attend.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace msa {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
// Two vectors wide and as many rows as leave registers for the operands: 24 of 32, 12 of 16.
constexpr int64_t kTileCols = 2 * kLanes;
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 ? 12 : 6;
constexpr int64_t kKeyTile = KvCache::kKeyTile;
static_assert(kKeyTile % kTileCols == 0);

// c [R, kTileCols] = a [R, depth] * b [depth, kTileCols].
template <int R>
void MultiplyTile(const float* HWY_RESTRICT a, int64_t lda, const float* HWY_RESTRICT b,
                  int64_t ldb, int64_t depth, float* HWY_RESTRICT c, int64_t ldc) {
  const D d;
  V sum0[R], sum1[R];
  const float* row[R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    sum0[r] = sum1[r] = hn::Zero(d);
    row[r] = a + r * lda;
  }
  for (int64_t k = 0; k < depth; ++k, b += ldb) {
    const V b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const V x = hn::Set(d, row[r][k]);
      sum0[r] = hn::MulAdd(x, b0, sum0[r]);
      sum1[r] = hn::MulAdd(x, b1, sum1[r]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    hn::StoreU(sum0[r], d, c + r * ldc);
    hn::StoreU(sum1[r], d, c + r * ldc + kLanes);
  }
}

using TileFunction = void (*)(const float*, int64_t, const float*, int64_t, int64_t, float*,
                              int64_t);
template <int R>
TileFunction TileOf(int64_t rows) {
  if constexpr (R == 1) {
    return MultiplyTile<1>;
  } else {
    return rows == R ? MultiplyTile<R> : TileOf<R - 1>(rows);
  }
}

// logits[0 .. limit) to exp(logit - max), zeros up to `end`; returns 1 / sum.
float Softmax(float* HWY_RESTRICT logits, int64_t limit, int64_t end, const float* bias,
              int64_t num_bias) {
  const D d;
  for (int64_t s = 0; s < std::min(limit, num_bias); ++s) logits[s] += bias[s];
  // Whole vectors may read and write up to the tile's end, past `limit`.
  const V lowest = hn::Set(d, -INFINITY);
  V max = lowest;
  for (int64_t s = 0; s < limit; s += kLanes) {
    const V x = hn::LoadU(d, logits + s);
    max =
        hn::Max(max, s + kLanes <= limit ? x : hn::IfThenElse(hn::FirstN(d, limit - s), x, lowest));
  }
  max = hn::MaxOfLanes(d, max);
  V sum = hn::Zero(d);
  for (int64_t s = 0; s < limit; s += kLanes) {
    V e = hn::Exp(d, hn::Max(hn::Sub(hn::LoadU(d, logits + s), max), hn::Set(d, -100.0f)));
    if (s + kLanes > limit) e = hn::IfThenElseZero(hn::FirstN(d, limit - s), e);
    hn::StoreU(e, d, logits + s);
    sum = hn::Add(sum, e);
  }
  for (int64_t s = (limit + kLanes - 1) / kLanes * kLanes; s < end; ++s) logits[s] = 0;
  return 1 / hn::GetLane(hn::SumOfLanes(d, sum));
}

// Scratch of one block, kept with the thread.
struct Workspace {
  std::vector<float> q, logits, out;
};

void AttendBlock(const AttendRows& a, int64_t row_begin, int64_t rows, Workspace* w) {
  const int64_t dim = a.head_dim;
  const int64_t end = a.first_limit + (row_begin + rows - 1) / a.group;  // of the last row
  const int64_t stride = (end + kKeyTile - 1) / kKeyTile * kKeyTile;
  w->q.resize(kTileRows * dim);
  w->out.resize(kTileRows * a.value_stride);
  w->logits.resize(std::max<size_t>(w->logits.size(), kTileRows * stride));
  const TileFunction tile = TileOf<kTileRows>(rows);

  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t r = row_begin + i;
    const float* q = a.q + r / a.group * a.q_stride + r % a.group * dim;
    for (int64_t j = 0; j < dim; ++j) w->q[i * dim + j] = q[j] * scale;
  }
  for (int64_t s = 0; s < stride; s += kTileCols)
    tile(w->q.data(), dim, a.keys + s / kKeyTile * kKeyTile * dim + s % kKeyTile, kKeyTile, dim,
         w->logits.data() + s, stride);
  float inverse_sum[kTileRows];
  for (int64_t i = 0; i < rows; ++i)
    inverse_sum[i] = Softmax(w->logits.data() + i * stride,
                             a.first_limit + (row_begin + i) / a.group, end, a.bias, a.num_bias);
  for (int64_t c = 0; c < a.value_stride; c += kTileCols)
    tile(w->logits.data(), stride, a.values + c, a.value_stride, end, w->out.data() + c,
         a.value_stride);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t r = row_begin + i;
    float* out = a.out + r / a.group * a.out_stride + r % a.group * dim;
    for (int64_t j = 0; j < dim; ++j) out[j] = w->out[i * a.value_stride + j] * inverse_sum[i];
  }
}

void Attend(const AttendRows& a, int64_t row_begin, int64_t row_end) {
  thread_local Workspace workspace;
  for (int64_t r = row_begin; r < row_end; r += kTileRows)
    AttendBlock(a, r, std::min<int64_t>(kTileRows, row_end - r), &workspace);
}

constexpr AttendKernel kKernel = {kTileRows, Attend};

}  // namespace HWY_NAMESPACE
}  // namespace msa
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace msa {

const AttendKernel& Avx2AttendKernel() { return N_AVX2::kKernel; }
const AttendKernel& Avx512AttendKernel() { return N_AVX3::kKernel; }

}  // namespace msa
#endif
