#include "msa/base/dtype.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace msa {
namespace {

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

TEST(DType, NamesRoundTrip) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kI32,
                            DType::kI64, DType::kU8, DType::kU16}) {
    EXPECT_EQ(ParseDType(DTypeName(dtype)), dtype);
  }
  EXPECT_EQ(ParseDType("f64"), std::nullopt);
  EXPECT_EQ(ParseDType(""), std::nullopt);
}

TEST(F16, EveryValueSurvivesF32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const F16 x{static_cast<uint16_t>(bits)};
    const float f = ToFloat(x);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(ToFloat(ToF16(f)))) << bits;
    } else {
      EXPECT_EQ(ToF16(f).bits, bits);
    }
  }
}

TEST(F16, KnownValues) {
  EXPECT_EQ(ToFloat(F16{0x3C00}), 1.0f);
  EXPECT_EQ(ToFloat(F16{0xC000}), -2.0f);
  EXPECT_EQ(ToFloat(F16{0x7BFF}), 65504.0f);
  EXPECT_EQ(ToFloat(F16{0x0001}), 0x1p-24f);
  EXPECT_EQ(ToFloat(F16{0x0400}), 0x1p-14f);
  EXPECT_EQ(Bits(ToFloat(F16{0x8000})), 0x80000000u);
  EXPECT_EQ(ToFloat(F16{0x7C00}), std::numeric_limits<float>::infinity());
}

TEST(F16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(ToF16(1 + 0x1p-11f).bits, 0x3C00);             // half way: down to even
  EXPECT_EQ(ToF16(1 + 3 * 0x1p-11f).bits, 0x3C02);         // half way: up to even
  EXPECT_EQ(ToF16(1 + 0x1p-11f + 0x1p-20f).bits, 0x3C01);  // just above
  EXPECT_EQ(ToF16(0x1p-25f).bits, 0x0000);                 // half the smallest: to even
  EXPECT_EQ(ToF16(0x1.8p-25f).bits, 0x0001);
  EXPECT_EQ(ToF16(65519.0f).bits, 0x7BFF);
  EXPECT_EQ(ToF16(65520.0f).bits, 0x7C00);
  EXPECT_EQ(ToF16(-1e30f).bits, 0xFC00);
}

TEST(F16, NoNeighbourIsNearer) {
  constexpr uint32_t kSeed = 11;
  std::mt19937 rng(kSeed);
  for (int i = 0; i < 200'000; ++i) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(rng()));
    if (!(std::abs(x) < 65504)) continue;
    const F16 y = ToF16(x);
    const double error = std::abs(static_cast<double>(ToFloat(y)) - x);
    for (const int step : {-1, 1}) {
      const F16 z{static_cast<uint16_t>(y.bits + step)};
      const double other = std::abs(static_cast<double>(ToFloat(z)) - x);
      ASSERT_TRUE(std::isnan(other) || error <= other) << "seed " << kSeed << ", " << x;
    }
  }
}

TEST(BF16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(ToBF16(1.0f).bits, 0x3F80);
  EXPECT_EQ(ToBF16(1 + 0x1p-8f).bits, 0x3F80);
  EXPECT_EQ(ToBF16(1 + 3 * 0x1p-8f).bits, 0x3F82);
  EXPECT_EQ(ToBF16(1 + 0x1p-8f + 0x1p-20f).bits, 0x3F81);
  EXPECT_EQ(ToBF16(std::numeric_limits<float>::max()).bits, 0x7F80);
  EXPECT_EQ(ToFloat(BF16{0xC040}), -3.0f);
}

TEST(BF16, NanStaysNan) {
  // A NaN whose upper half alone would read as infinity.
  EXPECT_TRUE(std::isnan(ToFloat(ToBF16(std::bit_cast<float>(0x7F800001u)))));
}

}  // namespace
}  // namespace msa
