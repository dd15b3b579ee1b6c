#include "msa/base/dtype.h"

#include <array>
#include <utility>

namespace msa {
namespace {

constexpr std::array<std::pair<DType, std::string_view>, 8> kNames = {{{DType::kF32, "f32"},
                                                                       {DType::kF16, "f16"},
                                                                       {DType::kBF16, "bf16"},
                                                                       {DType::kI8, "i8"},
                                                                       {DType::kI32, "i32"},
                                                                       {DType::kI64, "i64"},
                                                                       {DType::kU8, "u8"},
                                                                       {DType::kU16, "u16"}}};

}  // namespace

std::string_view DTypeName(DType dtype) {
  for (const auto& [type, name] : kNames) {
    if (type == dtype) return name;
  }
  return "unknown";
}

std::optional<DType> ParseDType(std::string_view name) {
  for (const auto& [type, type_name] : kNames) {
    if (type_name == name) return type;
  }
  return std::nullopt;
}

float ToFloat(F16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t exponent = (x.bits >> 10) & 0x1f;
  const uint32_t mantissa = x.bits & 0x3ff;
  if (exponent == 0) {
    const float magnitude =
        static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals are exact in f32
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

F16 ToF16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return {static_cast<uint16_t>(sign | 0x7e00)};
  if (magnitude >= 0x477ff000) return {static_cast<uint16_t>(sign | 0x7c00)};  // 65520 and above
  if (magnitude < 0x38800000) {  // below 2^-14: subnormal
    // Adding 0.5 aligns the mantissa so that f32's own rounding is f16's.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3f000000))};
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return {static_cast<uint16_t>(sign | ((rounded >> 13) - (112 << 10)))};
}

}  // namespace msa
