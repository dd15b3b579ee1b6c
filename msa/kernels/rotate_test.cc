#include "msa/kernels/rotate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "msa/kernels/pool.h"

namespace msa {
namespace {

std::vector<float> Random(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return values;
}

double Dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

TEST(RotateRows, IsTheHadamardMatrix) {
  // 12 = 3 runs of 4. Integers, and a norm of 1/2: exact.
  const std::vector<float> x = {1, 2, 3, 4, 0, 0, 8, 0, 2, 2, 2, 2};
  std::vector<float> rotated = x;
  RotateRows({rotated.data(), 1, 12});
  for (size_t run = 0; run < 12; run += 4) {
    for (size_t i = 0; i < 4; ++i) {
      float expected = 0;
      for (size_t j = 0; j < 4; ++j)
        expected += std::popcount(i & j) % 2 ? -x[run + j] : x[run + j];
      EXPECT_EQ(rotated[run + i], expected / 2) << run + i;
    }
  }
}

TEST(RotateRows, KeepsDotProductsAndUndoesItself) {
  for (const int64_t cols : {1, 2, 3, 16, 48, 192, 1024}) {
    const std::vector<float> a = Random(cols, 1), b = Random(cols, 2);
    std::vector<float> ra = a, rb = b;
    RotateRows({ra.data(), 1, cols});
    RotateRows({rb.data(), 1, cols});
    // log2 B sums and one product, each off by half a unit of f32, of values bounded by the norms.
    const double tolerance = 12 * 6e-8 * 2 * std::sqrt(Dot(a, a) * Dot(b, b));
    EXPECT_NEAR(Dot(ra, rb), Dot(a, b), tolerance) << cols;
    RotateRows({ra.data(), 1, cols});
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(ra[i], a[i], tolerance) << cols;
  }
}

TEST(RotateRows, LeavesPaddingAlone) {
  std::vector<float> x(2 * 20, NAN);
  for (int64_t r = 0; r < 2; ++r) std::fill_n(x.begin() + r * 20, 16, 1.0f);
  RotateRows({x.data(), 2, 16, 20});
  for (int64_t r = 0; r < 2; ++r) {
    EXPECT_EQ(x[static_cast<size_t>(r * 20)], 4);
    EXPECT_EQ(x[static_cast<size_t>(r * 20 + 15)], 0);
    EXPECT_TRUE(std::isnan(x[static_cast<size_t>(r * 20 + 16)]));
  }
}

// What it is for: keys with a few large dimensions lose less in 8 bits.
TEST(RotateRows, EightBitsKeepMoreOfLopsidedRows) {
  constexpr int64_t kRows = 100, kCols = 64;
  std::vector<float> keys = Random(kRows * kCols, 3);
  for (int64_t r = 0; r < kRows; ++r) keys[static_cast<size_t>(r * kCols + 5)] *= 100;
  const auto error = [&](bool rotate) {
    std::vector<float> rows = keys;
    if (rotate) RotateRows({rows.data(), kRows, kCols});
    std::vector<int8_t> stored(rows.size());
    std::vector<float> scales(kRows);
    StoreRows({rows.data(), kRows, kCols}, DType::kI8, kCols, stored.data(), scales.data());
    LoadRows(stored.data(), scales.data(), DType::kI8, kCols, {rows.data(), kRows, kCols});
    if (rotate) RotateRows({rows.data(), kRows, kCols});
    double sum = 0;
    for (size_t i = 0; i < rows.size(); ++i) sum += std::pow(rows[i] - keys[i], 2);
    return sum;
  };
  EXPECT_LT(error(true), 0.5 * error(false));
}

}  // namespace
}  // namespace msa
