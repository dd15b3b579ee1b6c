#include <algorithm>
#include <cmath>
#include <limits>

#include "msa/base/check.h"
#include "msa/kernels/convert.h"

namespace msa::ref {
namespace {

void StoreF32(const float* in, int64_t count, void* out, float*) {
  std::copy_n(in, count, static_cast<float*>(out));
}
void LoadF32(const void* in, int64_t count, float, float* out) {
  std::copy_n(static_cast<const float*>(in), count, out);
}

void StoreBF16(const float* in, int64_t count, void* out, float*) {
  for (int64_t i = 0; i < count; ++i) static_cast<BF16*>(out)[i] = ToBF16(in[i]);
}
void LoadBF16(const void* in, int64_t count, float, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = ToFloat(static_cast<const BF16*>(in)[i]);
}

void StoreF16(const float* in, int64_t count, void* out, float*) {
  for (int64_t i = 0; i < count; ++i) static_cast<F16*>(out)[i] = ToF16(in[i]);
}
void LoadF16(const void* in, int64_t count, float, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = ToFloat(static_cast<const F16*>(in)[i]);
}

void StoreI8(const float* in, int64_t count, void* out, float* scale) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::abs(in[i]));
    finite = finite && std::isfinite(in[i]);
  }
  const float inverse = 127 / largest;
  const bool usable = finite && std::isfinite(inverse);
  *scale = !finite ? std::numeric_limits<float>::quiet_NaN() : usable ? largest / 127 : 0;
  for (int64_t i = 0; i < count; ++i)
    static_cast<int8_t*>(out)[i] =
        usable ? static_cast<int8_t>(std::nearbyint(in[i] * inverse)) : int8_t{0};
}
void LoadI8(const void* in, int64_t count, float scale, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<const int8_t*>(in)[i] * scale;
}

}  // namespace

RunConversion Conversion(DType dtype) {
  switch (dtype) {
    case DType::kF32: return {StoreF32, LoadF32};
    case DType::kBF16: return {StoreBF16, LoadBF16};
    case DType::kF16: return {StoreF16, LoadF16};
    case DType::kI8: return {StoreI8, LoadI8};
    default: MSA_CHECK(!"a dtype of latents or keys");
  }
  return {};
}

}  // namespace msa::ref
