// Routing's block kernels with AVX-512 and VNNI.

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "msa/base/check.h"
#include "msa/kernels/cpu/route_block.h"
#include "msa/kernels/cpu/target.h"

// g++ 12 takes the undefined merge operand inside _mm512_cvtepi32_ps and others for ours.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

MSA_BEGIN_TARGET(MSA_AVX512_FEATURES)

namespace msa {
namespace {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr int64_t kLanes = 16;
  // 12 x 2 sums, 2 queries and a key fill 27 of 32 registers; 14 loads for 24 products.
  static constexpr int kTileRows = 12;

  static F ZeroF() { return _mm512_setzero_ps(); }
  static I ZeroI() { return _mm512_setzero_si512(); }
  static F Load(const float* p) { return _mm512_loadu_ps(p); }
  static I LoadI(const void* p) { return _mm512_loadu_si512(p); }
  static I LoadHalf(const int16_t* p) { return _mm512_zextsi256_si512(Load256(p)); }
  static F LoadFirst(const float* p, int64_t count) {
    return count >= kLanes ? Load(p)
                           : _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
  }
  static void Store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void Store(int32_t* p, I x) { _mm512_storeu_si512(p, x); }
  static F Broadcast(float x) { return _mm512_set1_ps(x); }
  static I BroadcastPair(const int16_t* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof(pair));
    return _mm512_set1_epi32(pair);
  }
  static F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F MulAdd(F sum, F a, F b) { return _mm512_fmadd_ps(a, b, sum); }
  // Lane i: sum + a[2i] b[2i] + a[2i+1] b[2i+1], int16 to int32.
  static I MulAdd(I sum, I a, I b) { return _mm512_dpwssd_epi32(sum, a, b); }
  static F ToFloat(I x) { return _mm512_cvtepi32_ps(x); }
  static uint32_t AtLeast(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }

  static F LoadKeys(const float* p) { return _mm512_loadu_ps(p); }
  static F LoadKeys(const BF16* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(Load256(p)), 16));
  }
  static F LoadKeys(const F16* p) { return _mm512_cvtph_ps(Load256(p)); }
  static I WidenKeys(const int8_t* p) { return _mm512_cvtepi8_epi16(Load256(p)); }
  static I WidenHalf(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_zextsi256_si512(_mm256_cvtepi8_epi16(bytes));
  }

  template <class Key>
  static void Decode(const Key* in, int64_t dim, float* out) {
    for (int64_t e = 0; e < dim; e += kLanes) Store(out + e, LoadKeys(in + e));
  }
  static void Decode(const int8_t* in, int64_t dim, int16_t* out) {
    for (int64_t e = 0; e < dim; e += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + e));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + e), _mm256_cvtepi8_epi16(bytes));
    }
  }

  // Lane i: the sum of x[i]'s lanes.
  static F SumEach(const F (&x)[16]) { return TransposeAdd<AddF>(x); }
  static I SumEach(const I (&x)[16]) {
    F as_float[16];
    for (int i = 0; i < 16; ++i) as_float[i] = _mm512_castsi512_ps(x[i]);
    return _mm512_castps_si512(TransposeAdd<AddI>(as_float));
  }

 private:
  static __m256i Load256(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }

  struct AddF {
    static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  };
  struct AddI {
    static F Add(F a, F b) {
      return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
    }
  };
  template <class A>
  static F AddParts(F a, F b) {
    return A::Add(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  // A transposition that adds at every step.
  template <class A>
  static F TransposeAdd(const F (&x)[16]) {
    F quad[4];  // vector j, in each 128-bit part: partial sums of x[4j] .. x[4j + 3]
    for (int j = 0; j < 4; ++j) {
      const F* y = x + 4 * j;
      const F ab = A::Add(_mm512_unpacklo_ps(y[0], y[1]), _mm512_unpackhi_ps(y[0], y[1]));
      const F cd = A::Add(_mm512_unpacklo_ps(y[2], y[3]), _mm512_unpackhi_ps(y[2], y[3]));
      const __m512d ab2 = _mm512_castps_pd(ab);
      const __m512d cd2 = _mm512_castps_pd(cd);
      quad[j] = A::Add(_mm512_castpd_ps(_mm512_unpacklo_pd(ab2, cd2)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(ab2, cd2)));
    }
    return AddParts<A>(AddParts<A>(quad[0], quad[1]), AddParts<A>(quad[2], quad[3]));
  }
};

}  // namespace
}  // namespace msa

#include "msa/kernels/cpu/route_block-inl.h"

MSA_END_TARGET

namespace msa {

namespace {

// One token is bound by reading the keys, and 256-bit loads keep more of them in flight: on Zen 4
// all of a plain loop's rate for f32 and int8, against 88 and 94 % with 512-bit ones.
uint64_t Score(const RouteQueries& queries, const RouterKeysView& run, int64_t row, int64_t rows,
               const float* thresholds, float* decoded, float* scores) {
  const ScoreRouteBlock score =
      queries.num_tokens == 1 ? kRouteBlockAvx2.score : &ScoreBlock<Avx512>;
  return score(queries, run, row, rows, thresholds, decoded, scores);
}

}  // namespace

// Six tokens by rows take as long as sixteen in lanes (Zen 4: f32 a tenth longer, bf16, f16 and
// int8 a fifth to a quarter less).
const RouteBlockKernel kRouteBlockAvx512 = {&Score, Avx512::kLanes, 6};

}  // namespace msa
