// Conversions of stored runs with AVX2 and F16C. What is left over after whole vectors goes through
// a padded copy of one vector, so that every element meets the same arithmetic.

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "msa/base/check.h"
#include "msa/kernels/convert.h"
#include "msa/kernels/cpu/target.h"

MSA_BEGIN_TARGET(MSA_AVX2_FEATURES)

namespace msa::cpu {
namespace {

constexpr int64_t kLanes = 8;

struct BF16Vector {
  using Stored = BF16;
  static __m256 Load(const BF16* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  // Round to nearest even; a NaN keeps its upper bits and becomes quiet.
  static void Store(BF16* p, __m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i out = _mm256_blendv_epi8(rounded, quiet, is_nan);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packus_epi32(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1)));
  }
};

struct F16Vector {
  using Stored = F16;
  static __m256 Load(const F16* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void Store(F16* p, __m256 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
};

// int8 in units of the scale.
struct I8Vector {
  using Stored = int8_t;
  static __m256 Load(const int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  }
  static void Store(int8_t* p, __m256 x) {
    const __m256i words = _mm256_cvtps_epi32(x);
    const __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(halves, halves));
  }
};

template <class V>
void Scaled(const float* in, int64_t count, float factor, typename V::Stored* out) {
  const __m256 factors = _mm256_set1_ps(factor);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    V::Store(out + i, _mm256_mul_ps(_mm256_loadu_ps(in + i), factors));
  if (i == count) return;
  float last[kLanes] = {};
  typename V::Stored stored[kLanes];
  std::copy_n(in + i, count - i, last);
  V::Store(stored, _mm256_mul_ps(_mm256_loadu_ps(last), factors));
  std::copy_n(stored, count - i, out + i);
}

template <class V>
void Store(const float* in, int64_t count, void* out, float*) {
  Scaled<V>(in, count, 1.0f, static_cast<typename V::Stored*>(out));
}

template <class V>
void Load(const void* in, int64_t count, float scale, float* out) {
  const auto* stored = static_cast<const typename V::Stored*>(in);
  const __m256 factors = _mm256_set1_ps(std::is_same_v<V, I8Vector> ? scale : 1.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    _mm256_storeu_ps(out + i, _mm256_mul_ps(V::Load(stored + i), factors));
  if (i == count) return;
  typename V::Stored last[kLanes] = {};
  float loaded[kLanes];
  std::copy_n(stored + i, count - i, last);
  _mm256_storeu_ps(loaded, _mm256_mul_ps(V::Load(last), factors));
  std::copy_n(loaded, count - i, out + i);
}

// max |x|, or NaN or infinity if one of x is. As integers, magnitudes order like floats, with
// infinity and then NaN above all numbers.
float LargestMagnitude(const float* in, int64_t count) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(in + i));
    largest = _mm256_max_epu32(largest, _mm256_and_si256(bits, magnitude));
  }
  alignas(32) uint32_t lanes[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
  uint32_t bits = *std::max_element(lanes, lanes + kLanes);
  for (; i < count; ++i) bits = std::max(bits, std::bit_cast<uint32_t>(std::abs(in[i])));
  return std::bit_cast<float>(bits);
}

void StoreI8(const float* in, int64_t count, void* out, float* scale) {
  const float largest = LargestMagnitude(in, count);
  const float inverse = 127 / largest;
  if (std::isfinite(largest) && std::isfinite(inverse)) {
    *scale = largest / 127;
    return Scaled<I8Vector>(in, count, inverse, static_cast<int8_t*>(out));
  }
  *scale = std::isfinite(largest) ? 0 : std::numeric_limits<float>::quiet_NaN();
  std::fill_n(static_cast<int8_t*>(out), count, int8_t{0});
}

}  // namespace
}  // namespace msa::cpu

MSA_END_TARGET

namespace msa::cpu {

RunConversion ConversionAvx2(DType dtype) {
  switch (dtype) {
    case DType::kF32: return ref::Conversion(dtype);  // memory copies
    case DType::kBF16: return {Store<BF16Vector>, Load<BF16Vector>};
    case DType::kF16: return {Store<F16Vector>, Load<F16Vector>};
    case DType::kI8: return {StoreI8, Load<I8Vector>};
    default: MSA_CHECK(!"a dtype of latents or keys");
  }
  return {};
}

}  // namespace msa::cpu
