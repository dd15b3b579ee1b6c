// Routing's block kernels with AVX2.

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "msa/base/check.h"
#include "msa/kernels/cpu/route_block.h"
#include "msa/kernels/cpu/target.h"

MSA_BEGIN_TARGET(MSA_AVX2_FEATURES)

namespace msa {
namespace {

struct Avx2 {
  using F = __m256;
  using I = __m256i;
  static constexpr int64_t kLanes = 8;
  // 6 x 2 sums, 2 queries and a key fill 15 of 16 registers; 8 loads for 12 products.
  static constexpr int kTileRows = 6;

  static F ZeroF() { return _mm256_setzero_ps(); }
  static I ZeroI() { return _mm256_setzero_si256(); }
  static F Load(const float* p) { return _mm256_loadu_ps(p); }
  static I LoadI(const void* p) { return LoadBytes(p); }
  static F LoadFirst(const float* p, int64_t count) {
    if (count >= kLanes) return Load(p);
    float first[kLanes] = {};
    std::copy_n(p, count, first);
    return Load(first);
  }
  static void Store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void Store(int32_t* p, I x) { _mm256_storeu_si256(reinterpret_cast<I*>(p), x); }
  static F Broadcast(float x) { return _mm256_set1_ps(x); }
  static I BroadcastPair(const int16_t* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof(pair));
    return _mm256_set1_epi32(pair);
  }
  static F Mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F MulAdd(F sum, F a, F b) { return _mm256_fmadd_ps(a, b, sum); }
  // Lane i: sum + a[2i] b[2i] + a[2i+1] b[2i+1], int16 to int32.
  static I MulAdd(I sum, I a, I b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
  static F ToFloat(I x) { return _mm256_cvtepi32_ps(x); }
  static uint32_t AtLeast(F a, F b) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }

  static F LoadKeys(const float* p) { return _mm256_loadu_ps(p); }
  static F LoadKeys(const BF16* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load128(p)), 16));
  }
  static F LoadKeys(const F16* p) { return _mm256_cvtph_ps(Load128(p)); }
  static I WidenKeys(const int8_t* p) { return _mm256_cvtepi8_epi16(Load128(p)); }

  template <class Key>
  static void Decode(const Key* in, int64_t dim, float* out) {
    for (int64_t e = 0; e < dim; e += kLanes) Store(out + e, LoadKeys(in + e));
  }
  static void Decode(const int8_t* in, int64_t dim, int16_t* out) {
    for (int64_t e = 0; e < dim; e += 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + e), WidenKeys(in + e));
  }

  // Lane i: the sum of x[i]'s lanes.
  static F SumEach(const F (&x)[8]) {
    const F a = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    const F b = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
  static I SumEach(const I (&x)[8]) {
    const I a = _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
    const I b = _mm256_hadd_epi32(_mm256_hadd_epi32(x[4], x[5]), _mm256_hadd_epi32(x[6], x[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
  }

 private:
  static I LoadBytes(const void* p) { return _mm256_loadu_si256(static_cast<const I*>(p)); }
  static __m128i Load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
};

}  // namespace
}  // namespace msa

#include "msa/kernels/cpu/route_block-inl.h"

MSA_END_TARGET

namespace msa {

// Four tokens by rows take as long as eight in lanes (Zen 4: bf16 and f16 longer, int8 less).
const RouteBlockKernel kRouteBlockAvx2 = {&ScoreBlock<Avx2>, Avx2::kLanes, 3};

}  // namespace msa
