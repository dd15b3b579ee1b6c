// The operations of block_ops.h in Highway, compiled for AVX2 and AVX-512.

#include <algorithm>
#include <cstdint>

#include "msa/kernels/block_rows.h"

// The two levels of Isa that have kernels; below them the reference runs.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "msa/kernels/cpu/block_ops.cc"
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

// The first min(left, lanes) values at `p`, zeros beyond.
HWY_INLINE V LoadUpTo(const float* p, int64_t left) {
  const D d;
  return HWY_LIKELY(left >= kLanes) ? hn::LoadU(d, p) : hn::MaskedLoad(hn::FirstN(d, left), d, p);
}

HWY_INLINE void StoreUpTo(V v, float* p, int64_t left) {
  const D d;
  if (HWY_LIKELY(left >= kLanes)) return hn::StoreU(v, d, p);
  hn::BlendedStore(v, hn::FirstN(d, left), d, p);
}

void QuantiseBlock(const float* HWY_RESTRICT x, int64_t n, int8_t* HWY_RESTRICT q, float* scale) {
  const D d;
  V max0 = hn::Zero(d), max1 = max0;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    max0 = hn::Max(max0, hn::Abs(hn::LoadU(d, x + i)));
    max1 = hn::Max(max1, hn::Abs(hn::LoadU(d, x + i + kLanes)));
  }
  for (; i < n; i += kLanes) max0 = hn::Max(max0, hn::Abs(LoadUpTo(x + i, n - i)));
  const float max = hn::GetLane(hn::MaxOfLanes(d, hn::Max(max0, max1)));
  *scale = max < kZeroBlock ? 0 : max / 127;
  const V inverse = hn::Set(d, max < kZeroBlock ? 0 : 127 / max);
  const hn::Rebind<int8_t, D> d8;
  for (i = 0; i < n; i += kLanes) {
    const auto rounded = hn::DemoteTo(d8, hn::NearestInt(hn::Mul(LoadUpTo(x + i, n - i), inverse)));
    if (HWY_LIKELY(n - i >= kLanes)) {
      hn::StoreU(rounded, d8, q + i);
    } else {
      HWY_ALIGN int8_t last[kLanes];
      hn::Store(rounded, d8, last);
      std::copy(last, last + (n - i), q + i);
    }
  }
}

void Quantise(const float* x, int64_t n, int64_t block, int8_t* q, float* scales) {
  for (int64_t i = 0; i < n; i += block)
    QuantiseBlock(x + i, std::min(block, n - i), q + i, scales++);
}

void RmsNorm(const float* x, const float* HWY_RESTRICT weight, int64_t n, float epsilon, float* y) {
  const D d;
  V sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int64_t j = 0; j < 4; ++j) {
      const V v = hn::LoadU(d, x + i + j * kLanes);
      sum[j] = hn::MulAdd(v, v, sum[j]);
    }
  }
  for (; i < n; i += kLanes) {
    const V v = LoadUpTo(x + i, n - i);
    sum[0] = hn::MulAdd(v, v, sum[0]);
  }
  const V total = hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])));
  const V mean = hn::Div(total, hn::Set(d, static_cast<float>(n)));
  const V inverse = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Add(mean, hn::Set(d, epsilon))));
  for (i = 0; i < n; i += kLanes) {
    const V scaled = hn::Mul(LoadUpTo(x + i, n - i), inverse);
    StoreUpTo(hn::Mul(scaled, LoadUpTo(weight + i, n - i)), y + i, n - i);
  }
}

void SiluGate(const float* HWY_RESTRICT gate, const float* HWY_RESTRICT up, int64_t n,
              float* HWY_RESTRICT out) {
  const D d;
  const V one = hn::Set(d, 1.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const V g = LoadUpTo(gate + i, n - i);
    // Beyond 88 the exponential is infinite in f32, and Highway's undefined beyond 104.
    const V e = hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 88.0f)));
    const V silu = hn::Div(g, hn::Add(one, e));
    StoreUpTo(hn::Mul(silu, LoadUpTo(up + i, n - i)), out + i, n - i);
  }
}

void Add(float* HWY_RESTRICT x, const float* HWY_RESTRICT y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes)
    StoreUpTo(hn::Add(LoadUpTo(x + i, n - i), LoadUpTo(y + i, n - i)), x + i, n - i);
}

void Rope(float* HWY_RESTRICT head, int64_t half, const float* HWY_RESTRICT cos,
          const float* HWY_RESTRICT sin) {
  for (int64_t i = 0; i < half; i += kLanes) {
    const int64_t left = half - i;
    const V a = LoadUpTo(head + i, left), b = LoadUpTo(head + half + i, left);
    const V c = LoadUpTo(cos + i, left), s = LoadUpTo(sin + i, left);
    StoreUpTo(hn::NegMulAdd(b, s, hn::Mul(a, c)), head + i, left);
    StoreUpTo(hn::MulAdd(a, s, hn::Mul(b, c)), head + half + i, left);
  }
}

constexpr BlockRows kRows = {Quantise, RmsNorm, SiluGate, Add, Rope};

}  // namespace HWY_NAMESPACE
}  // namespace msa
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace msa {

const BlockRows& Avx2BlockRows() { return N_AVX2::kRows; }
const BlockRows& Avx512BlockRows() { return N_AVX3::kRows; }

}  // namespace msa
#endif
