// Element types of stored tensors, and the two 16-bit float conversions everything shares.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

namespace msa {

enum class DType : uint8_t { kF32, kF16, kBF16, kI8, kI32, kI64, kU8, kU16 };

// Bytes of one element.
constexpr int64_t DTypeSize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kF16:
    case DType::kBF16:
    case DType::kU16: return 2;
    case DType::kI64: return 8;
    case DType::kI8:
    case DType::kU8: return 1;
  }
  return 0;
}

// "f32", "f16", "bf16", "i8", "i32", "i64", "u8", "u16": as the command line and bank.json write
// them.
std::string_view DTypeName(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

// Storage of a bf16 or an f16; arithmetic happens in f32.
struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

inline float ToFloat(BF16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

// Round to nearest even; NaN stays NaN.
inline BF16 ToBF16(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  bits += 0x7fff + ((bits >> 16) & 1);
  return {static_cast<uint16_t>(bits >> 16)};
}

float ToFloat(F16 x);
// Round to nearest even; too large becomes infinity.
F16 ToF16(float x);

}  // namespace msa
