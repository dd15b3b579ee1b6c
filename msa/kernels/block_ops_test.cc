#include "msa/kernels/block_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "msa/kernels/quantised_rows.h"

namespace msa {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kCols[] = {1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576};

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaSupported(isa)) isas.push_back(isa);
  return isas;
}

// Rows with NaN between them, which must neither reach a result nor be written over.
struct Rows {
  Rows(int64_t rows, int64_t cols, uint32_t seed) : buffer(rows * (cols + 3), kNaN) {
    view = {buffer.data(), rows, cols, cols + 3};
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 2);
    for (int64_t i = 0; i < rows; ++i)
      for (float& x : view.row(i)) x = normal(random);
  }
  bool PaddingIntact() const {
    for (int64_t i = 0; i < view.rows; ++i)
      for (int64_t j = view.cols; j < view.stride; ++j)
        if (!std::isnan(view.data[i * view.stride + j])) return false;
    return true;
  }
  std::vector<float> buffer;
  MatrixView<float> view;
};

void ExpectEqual(const QuantisedRows& a, const QuantisedRows& b) {
  for (int64_t i = 0; i < a.q.rows; ++i) {
    EXPECT_TRUE(std::ranges::equal(a.q.row(i), b.q.row(i)));
    EXPECT_TRUE(std::ranges::equal(a.scales.row(i), b.scales.row(i)));
  }
}

TEST(RmsNorm, EqualsTheDefinition) {
  for (int64_t cols : kCols) {
    const Rows x(3, cols, 1), weight(1, cols, 2);
    for (Isa isa : SupportedIsas()) {
      Rows y(3, cols, 3);
      RmsNorm(x.view, weight.view.row(0), 1e-5f, y.view, isa);
      EXPECT_TRUE(y.PaddingIntact());
      for (int64_t i = 0; i < 3; ++i) {
        double sum = 0;
        for (float v : x.view.row(i)) sum += static_cast<double>(v) * v;
        for (int64_t j = 0; j < cols; ++j) {
          const double expected =
              x.view.row(i)[j] / std::sqrt(sum / cols + 1e-5) * weight.view.row(0)[j];
          // All terms of the sum are positive: at most cols / 2 + 5 roundings reach the result.
          EXPECT_NEAR(y.view.row(i)[j], expected,
                      std::abs(expected) * std::ldexp(cols / 2 + 5, -24))
              << IsaName(isa) << " " << cols;
        }
      }
    }
  }
}

TEST(RmsNorm, QuantisedEqualsNormThenQuantise) {
  for (int64_t cols : kCols) {
    const Rows x(3, cols, 4), weight(1, cols, 5);
    for (Isa isa : SupportedIsas()) {
      Rows y(3, cols, 6);
      RmsNorm(x.view, weight.view.row(0), 1e-5f, y.view, isa);
      QuantisedBuffer fused, apart;
      const QuantisedRows a = fused.Resize(3, cols, 96), b = apart.Resize(3, cols, 96);
      RmsNormQuantised(x.view, weight.view.row(0), 1e-5f, a, isa);
      QuantiseRows(y.view, b, isa);
      ExpectEqual(a, b);
    }
  }
}

TEST(SiluGate, EqualsTheDefinitionToTheEnds) {
  for (int64_t cols : kCols) {
    Rows x(2, 2 * cols, 7);
    x.view.row(0)[0] = -1000;  // exp(1000) is infinite, the result is 0
    x.view.row(1)[0] = 1000;
    for (Isa isa : SupportedIsas()) {
      Rows y(2, cols, 8);
      SiluGate(x.view, y.view, isa);
      EXPECT_TRUE(y.PaddingIntact());
      for (int64_t i = 0; i < 2; ++i) {
        for (int64_t j = 0; j < cols; ++j) {
          const double gate = x.view.row(i)[j], up = x.view.row(i)[cols + j];
          const double expected = gate / (1 + std::exp(-gate)) * up;
          // Exp 1 unit in the last place, four roundings after it; e^-88 is not below 1e-35.
          EXPECT_NEAR(y.view.row(i)[j], expected, std::ldexp(std::abs(expected), -21) + 1e-33)
              << IsaName(isa) << " " << gate;
        }
      }
      QuantisedBuffer fused, apart;
      const QuantisedRows a = fused.Resize(2, cols, 96), b = apart.Resize(2, cols, 96);
      SiluGateQuantised(x.view, a, isa);
      QuantiseRows(y.view, b, isa);
      ExpectEqual(a, b);
    }
  }
}

TEST(AddRows, AddsEveryValueOnce) {
  for (int64_t cols : kCols) {
    const Rows y(2, cols, 9);
    for (Isa isa : SupportedIsas()) {
      Rows x(2, cols, 10);
      const Rows before(2, cols, 10);
      AddRows(x.view, y.view, isa);
      EXPECT_TRUE(x.PaddingIntact());
      for (int64_t i = 0; i < 2; ++i)
        for (int64_t j = 0; j < cols; ++j)
          EXPECT_EQ(x.view.row(i)[j], before.view.row(i)[j] + y.view.row(i)[j]);
    }
  }
}

TEST(Rope, RotatesPairsHalfAHeadApart) {
  for (int64_t dim : {2, 16, 34, 64, 128}) {
    std::vector<float> frequencies;
    for (int64_t i = 0; i < dim / 2; ++i)
      frequencies.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / dim)));
    const RopeTable table(40, frequencies);
    const std::vector<int32_t> positions = {0, 39, 7};
    const Rows before(3, 2 * dim, 11);
    for (Isa isa : SupportedIsas()) {
      Rows x(3, 2 * dim, 11);
      ApplyRope(x.view, table, positions, isa);
      EXPECT_TRUE(x.PaddingIntact());
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t h = 0; h < 2; ++h) {
          for (int64_t i = 0; i < dim / 2; ++i) {
            const double angle = positions[t] * static_cast<double>(frequencies[i]);
            const double a = before.view.row(t)[h * dim + i];
            const double b = before.view.row(t)[h * dim + i + dim / 2];
            // cos, sin, two products, one sum: each rounds by 2^-24 of at most |a| + |b|.
            const double bound = std::ldexp(std::abs(a) + std::abs(b), -22);
            EXPECT_NEAR(x.view.row(t)[h * dim + i], a * std::cos(angle) - b * std::sin(angle),
                        bound);
            EXPECT_NEAR(x.view.row(t)[h * dim + i + dim / 2],
                        b * std::cos(angle) + a * std::sin(angle), bound);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace msa
