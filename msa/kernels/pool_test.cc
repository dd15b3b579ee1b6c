#include "msa/kernels/pool.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace msa {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr DType kStoredDTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI8};

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaSupported(isa)) isas.push_back(isa);
  return isas;
}

std::vector<float> Normal(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& x : values) x = normal(random);
  return values;
}

TEST(PoolChunks, MeanOfRaggedChunks) {
  const std::vector<float> x = {1, 10, 2, 20, 3, 30, 4, 40, 5, 50};  // 5 tokens of 2
  const std::vector<int64_t> chunk_begin = {0, 2, 4, 5};
  for (Isa isa : SupportedIsas()) {
    std::vector<float> out(6, kNaN);
    PoolChunks({x.data(), 5, 2}, {}, 2, chunk_begin, {out.data(), 3, 2}, isa);
    EXPECT_EQ(out, (std::vector<float>{1.5, 15, 3.5, 35, 5, 50}));
  }
}

TEST(PoolChunks, WeightsAreByTokenAndHead) {
  // 3 tokens, 2 heads of 2, in a wider matrix whose padding must not be read into a result.
  const std::vector<float> x = {1, 2, 3, 4, kNaN, 5, 6, 7, 8, kNaN, 9, 10, 11, 12, kNaN};
  const std::vector<float> weights = {.25, 1, .75, 0, 1, .5};
  const std::vector<int64_t> chunk_begin = {0, 2, 3};
  std::vector<float> out(8, kNaN);
  PoolChunks({x.data(), 3, 4, 5}, weights, 2, chunk_begin, {out.data(), 2, 4});
  EXPECT_EQ(out, (std::vector<float>{4, 5, 3, 4, 9, 10, 5.5, 6}));
}

TEST(PoolChunks, EmptyChunkIsABug) {
  const std::vector<float> x(4);
  const std::vector<int64_t> chunk_begin = {0, 0, 2};
  std::vector<float> out(4);
  EXPECT_DEATH(PoolChunks({x.data(), 2, 2}, {}, 1, chunk_begin, {out.data(), 2, 2}), "begin < end");
}

TEST(AddPositionedMeans, MultipliesByPositionAndAddsTheMean) {
  const std::vector<float> x = {1, 2, kNaN, 3, 4, kNaN, 5, 6, kNaN};  // 3 tokens of 2, padded
  const std::vector<float> position = {2, 10, -1, 0.5, kNaN, kNaN};   // the third stays unread
  const std::vector<int64_t> chunk_begin = {0, 2, 3};
  std::vector<float> out = {100, 200, kNaN, 300, 400, kNaN};
  AddPositionedMeans({x.data(), 3, 2, 3}, {position.data(), 3, 2}, chunk_begin,
                     {out.data(), 2, 2, 3});
  EXPECT_EQ(out[0], 100 + (2 * 1 - 1 * 3) / 2.0f);
  EXPECT_EQ(out[1], 200 + (10 * 2 + 0.5f * 4) / 2.0f);
  EXPECT_EQ(out[3], 300 + 2 * 5);
  EXPECT_EQ(out[4], 400 + 10 * 6);
}

TEST(AddPositionedMeans, AChunkLongerThanPositionsIsABug) {
  const std::vector<float> x(4), position(2);
  const std::vector<int64_t> chunk_begin = {0, 2};
  std::vector<float> out(2);
  EXPECT_DEATH(AddPositionedMeans({x.data(), 2, 2}, {position.data(), 1, 2}, chunk_begin,
                                  {out.data(), 1, 2}),
               "position.rows");
}

TEST(NormaliseHeads, EachHeadGetsLengthOne) {
  std::vector<float> x = Normal(3 * 8, 1);
  const std::vector<float> before = x;
  NormaliseHeads({x.data(), 3, 8}, 4);
  for (size_t head = 0; head < x.size(); head += 4) {
    double squares = 0, dot = 0, norm = 0;
    for (size_t i = head; i < head + 4; ++i) {
      squares += x[i] * x[i];
      dot += x[i] * before[i];
      norm += before[i] * before[i];
    }
    EXPECT_NEAR(squares, 1, 1e-6);
    EXPECT_NEAR(dot, std::sqrt(norm), 1e-5) << "the direction changed";
  }
}

TEST(NormaliseHeads, ZeroStaysZero) {
  std::vector<float> x(8, 0.0f);
  NormaliseHeads({x.data(), 1, 8}, 4);
  EXPECT_EQ(x, std::vector<float>(8, 0.0f));
}

struct Stored {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
};

// Rows from a strided matrix with NaN between them.
Stored Store(const std::vector<float>& x, int64_t rows, int64_t cols, DType dtype, int64_t group,
             Isa isa) {
  std::vector<float> padded(rows * (cols + 3), kNaN);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(x.data() + r * cols, cols, padded.data() + r * (cols + 3));
  Stored out;
  out.bytes.resize(rows * cols * DTypeSize(dtype));
  out.scales.resize(dtype == DType::kI8 ? rows * (cols / group) : 0);
  StoreRows({padded.data(), rows, cols, cols + 3}, dtype, group, out.bytes.data(),
            out.scales.data(), isa);
  return out;
}

TEST(StoreRows, EqualsReferenceOnEveryIsa) {
  for (DType dtype : kStoredDTypes) {
    for (int64_t group : {1, 7, 8, 9, 16, 31, 64, 192}) {
      std::vector<float> x = Normal(5 * 2 * group, 2);
      for (size_t i = 0; i < x.size(); i += 3)
        x[i] *= std::ldexp(1.0f, static_cast<int>(i % 60) - 30);
      const Stored expected = Store(x, 5, 2 * group, dtype, group, Isa::kReference);
      for (Isa isa : SupportedIsas()) {
        const Stored found = Store(x, 5, 2 * group, dtype, group, isa);
        EXPECT_EQ(found.bytes, expected.bytes) << DTypeName(dtype) << " " << IsaName(isa);
        EXPECT_EQ(found.scales, expected.scales);
        std::vector<float> loaded(x.size()), reference(x.size());
        LoadRows(found.bytes.data(), found.scales.data(), dtype, group,
                 {loaded.data(), 5, 2 * group}, isa);
        LoadRows(found.bytes.data(), found.scales.data(), dtype, group,
                 {reference.data(), 5, 2 * group}, Isa::kReference);
        EXPECT_EQ(loaded, reference) << DTypeName(dtype) << " " << IsaName(isa);
      }
    }
  }
}

TEST(StoreRows, ErrorIsHalfAStep) {
  const std::vector<float> x = Normal(20 * 64, 3);
  for (Isa isa : SupportedIsas()) {
    for (DType dtype : kStoredDTypes) {
      const Stored stored = Store(x, 20, 64, dtype, 16, isa);
      std::vector<float> loaded(x.size());
      LoadRows(stored.bytes.data(), stored.scales.data(), dtype, 16, {loaded.data(), 20, 64}, isa);
      for (size_t i = 0; i < x.size(); ++i) {
        // 24, 11 and 8 bits of significand; half of the group's scale, and the rounding of x /
        // scale.
        const double step = dtype == DType::kI8     ? stored.scales[i / 16] * (0.5 + 1e-4)
                            : dtype == DType::kBF16 ? std::abs(x[i]) * 0x1p-8
                            : dtype == DType::kF16  ? std::abs(x[i]) * 0x1p-11 + 0x1p-25
                                                    : 0;
        EXPECT_NEAR(loaded[i], x[i], step) << DTypeName(dtype) << " " << IsaName(isa);
      }
    }
  }
}

TEST(StoreRows, HalvesGoToEven) {
  // Scale 1: the largest is 127.
  const std::vector<float> x = {127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.49};
  for (Isa isa : SupportedIsas()) {
    const Stored stored = Store(x, 1, 8, DType::kI8, 8, isa);
    int8_t q[8];
    std::memcpy(q, stored.bytes.data(), 8);
    EXPECT_EQ(std::vector<int8_t>(q, q + 8), (std::vector<int8_t>{127, 0, 2, 2, 0, -2, -2, 3}));
    EXPECT_EQ(stored.scales[0], 1.0f);
  }
}

TEST(StoreRows, GroupsWithoutAScale) {
  for (Isa isa : SupportedIsas()) {
    std::vector<float> x(4 * 12, 1.0f);
    std::fill_n(x.data(), 12, 0.0f);         // nothing
    std::fill_n(x.data() + 12, 12, 1e-39f);  // too small for a scale with an inverse
    x[2 * 12 + 11] = kNaN;
    x[3 * 12 + 2] = -kInfinity;
    const Stored stored = Store(x, 4, 12, DType::kI8, 12, isa);
    EXPECT_EQ(stored.scales[0], 0);
    EXPECT_EQ(stored.scales[1], 0);
    EXPECT_TRUE(std::isnan(stored.scales[2])) << IsaName(isa);
    EXPECT_TRUE(std::isnan(stored.scales[3])) << IsaName(isa);
    EXPECT_EQ(stored.bytes, std::vector<std::byte>(48));
  }
}

TEST(StoreRows, SixteenBitFloatsKeepSpecialValues) {
  const std::vector<float> x = {kNaN,  kInfinity, -kInfinity, 0.0f, -0.0f,
                                1e-7f, 1e30f,     65519.0f,   1};
  for (Isa isa : SupportedIsas()) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      const Stored stored = Store(x, 1, 9, dtype, 9, isa);
      std::vector<float> y(9);
      LoadRows(stored.bytes.data(), nullptr, dtype, 9, {y.data(), 1, 9}, isa);
      EXPECT_TRUE(std::isnan(y[0])) << DTypeName(dtype) << " " << IsaName(isa);
      EXPECT_EQ(y[1], kInfinity);
      EXPECT_EQ(y[2], -kInfinity);
      EXPECT_FALSE(std::signbit(y[3]));
      EXPECT_TRUE(std::signbit(y[4]));
      EXPECT_NEAR(y[5], 1e-7f, 3e-8);  // subnormal in f16
      if (dtype == DType::kF16) {
        EXPECT_EQ(y[6], kInfinity);
        EXPECT_EQ(y[7], 65504.0f);
      }
      EXPECT_EQ(y[8], 1);
    }
  }
}

}  // namespace
}  // namespace msa
