#include "msa/model/key_whitening.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "msa/kernels/pool.h"
#include "msa/kernels/rotate.h"

namespace msa {
namespace {

constexpr int64_t kLayerDim = 8;
constexpr int64_t kKeyDim = 2 * kLayerDim;

// Passages of one or two keys each; the first dimension of each layer varies ten times as much as
// the others.
struct Keys {
  std::vector<float> values;
  std::vector<int64_t> chunk_begin = {0};
  std::vector<PassageId> ids;

  static Keys Random(int64_t first_id, int64_t passages, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    Keys keys;
    for (int64_t p = 0; p < passages; ++p) {
      for (int64_t chunk = 0; chunk <= p % 2; ++chunk) {
        for (int64_t i = 0; i < kKeyDim; ++i) {
          keys.values.push_back(normal(random) * (i % kLayerDim == 0 ? 10.0f : 1.0f) + 3.0f);
        }
      }
      keys.chunk_begin.push_back(std::ssize(keys.values) / kKeyDim);
      keys.ids.push_back({first_id + p});
    }
    return keys;
  }
  RouterKeysView view(const uint8_t* visible = nullptr) const {
    return {DType::kF32, std::ssize(ids),    kKeyDim,    values.data(),
            nullptr,     chunk_begin.data(), ids.data(), visible};
  }
};

std::vector<float> Applied(const KeyWhitening& whitening) {
  std::vector<float> query(kKeyDim);
  for (size_t i = 0; i < query.size(); ++i) query[i] = 1.0f + 0.1f * static_cast<float>(i);
  whitening.Apply(query);
  return query;
}

TEST(KeyWhitening, WithoutExponentOrKeysChangesNothing) {
  const Keys keys = Keys::Random(1, 20, 1);
  const RouterKeysView view = keys.view();
  const std::vector<float> plain = Applied(KeyWhitening());
  EXPECT_EQ(Applied(KeyWhitening::Of({&view, 1}, kLayerDim, 0)), plain);
  EXPECT_EQ(Applied(KeyWhitening::Of({}, kLayerDim, 0.2)), plain);
  const std::vector<uint8_t> nothing(3, 0);
  const RouterKeysView hidden = keys.view(nothing.data());
  EXPECT_EQ(Applied(KeyWhitening::Of({&hidden, 1}, kLayerDim, 0.2)), plain);
}

// Applied twice, C^-1/2 is C^-1, but for their scales.
TEST(KeyWhitening, IsThePowerOfTheCovarianceOfEachLayer) {
  const Keys keys = Keys::Random(1, 400, 2);
  const RouterKeysView view = keys.view();
  const auto matrix = [&](double exponent) {
    const KeyWhitening whitening = KeyWhitening::Of({&view, 1}, kLayerDim, exponent);
    std::vector<std::vector<float>> columns;
    for (int64_t i = 0; i < kKeyDim; ++i) {
      columns.emplace_back(kKeyDim, 0.0f)[static_cast<size_t>(i)] = 1;
      whitening.Apply(columns.back());
    }
    return columns;
  };
  const auto half = matrix(0.5);
  const auto full = matrix(1);
  for (size_t layer : {0, 1}) {
    const size_t first = layer * kLayerDim;
    double scale = 0;  // each is of mean 1 along its diagonal
    for (size_t i = 0; i < kLayerDim; ++i) {
      for (size_t k = 0; k < kLayerDim; ++k) {
        scale += half[first + i][first + k] * half[first + k][first + i] / kLayerDim;
      }
    }
    for (size_t i = 0; i < kKeyDim; ++i) {
      for (size_t j = 0; j < kLayerDim; ++j) {
        double product = 0;
        for (size_t k = 0; k < kKeyDim; ++k) product += half[i][k] * half[k][first + j];
        EXPECT_NEAR(product / scale, full[i][first + j], 1e-4) << i << " " << j;
      }
    }
    // Ten times the deviation: counts less by far; how much, shrinking decides.
    EXPECT_LT(full[first][first], 0.1f * full[first + 1][first + 1]);
  }
}

TEST(KeyWhitening, DoesNotDependOnTheCutOfRuns) {
  const Keys a = Keys::Random(1, 700, 3), b = Keys::Random(701, 300, 4);
  Keys joined = a;
  joined.values.insert(joined.values.end(), b.values.begin(), b.values.end());
  for (size_t p = 1; p < b.chunk_begin.size(); ++p) {
    joined.chunk_begin.push_back(a.chunk_begin.back() + b.chunk_begin[p]);
  }
  joined.ids.insert(joined.ids.end(), b.ids.begin(), b.ids.end());
  const std::vector<RouterKeysView> cut = {b.view(), a.view()}, whole = {joined.view()};
  EXPECT_EQ(Applied(KeyWhitening::Of(cut, kLayerDim, 0.2)),
            Applied(KeyWhitening::Of(whole, kLayerDim, 0.2)));
}

// What is hidden may be anything: it is not read.
TEST(KeyWhitening, ReadsVisiblePassagesOnly) {
  const Keys keys = Keys::Random(1, 40, 5);
  std::vector<uint8_t> visible(5, 0x55);
  Keys other = keys;
  for (size_t p = 1; p < 40; p += 2) {
    for (int64_t i = keys.chunk_begin[p] * kKeyDim; i < keys.chunk_begin[p + 1] * kKeyDim; ++i) {
      other.values[static_cast<size_t>(i)] = 1e6f;
    }
  }
  const RouterKeysView view = keys.view(visible.data()), changed = other.view(visible.data());
  EXPECT_EQ(Applied(KeyWhitening::Of({&view, 1}, kLayerDim, 0.2)),
            Applied(KeyWhitening::Of({&changed, 1}, kLayerDim, 0.2)));
}

TEST(KeyWhitening, StaysFiniteWhereKeysAreNot) {
  Keys keys = Keys::Random(1, 10, 7);
  keys.values[3] = std::numeric_limits<float>::quiet_NaN();
  keys.values[20] = std::numeric_limits<float>::infinity();
  const RouterKeysView view = keys.view();
  for (const float x : Applied(KeyWhitening::Of({&view, 1}, kLayerDim, 0.2))) {
    EXPECT_TRUE(std::isfinite(x));
  }
}

TEST(KeyWhitening, UndoesTheRotationOfStoredKeys) {
  const Keys keys = Keys::Random(1, 200, 6);
  const RouterKeysView plain = keys.view();
  std::vector<float> rotated = keys.values;
  const auto rows = std::ssize(rotated) / kKeyDim;
  RotateRows({rotated.data(), rows, kKeyDim});
  std::vector<std::byte> stored(static_cast<size_t>(rows * kKeyDim));
  std::vector<float> scales(static_cast<size_t>(rows));
  StoreRows({rotated.data(), rows, kKeyDim}, DType::kI8, kKeyDim, stored.data(), scales.data());
  RouterKeysView view = plain;
  view.dtype = DType::kI8;
  view.keys = stored.data();
  view.scales = scales.data();
  const std::vector<float> expected = Applied(KeyWhitening::Of({&plain, 1}, kLayerDim, 0.2));
  const std::vector<float> found = Applied(KeyWhitening::Of({&view, 1}, kLayerDim, 0.2));
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 0.02);
}

}  // namespace
}  // namespace msa
