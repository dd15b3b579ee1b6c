#include "msa/kernels/quant_matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "msa/base/dtype.h"
#include "msa/kernels/quantised_rows.h"

namespace msa {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaSupported(isa)) isas.push_back(isa);
  return isas;
}

std::vector<float> RandomFloats(int64_t count, uint32_t seed, float sigma = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  return values;
}

// Rows `stride` apart at an address that is no multiple of the element's vector width; what lies
// between rows is poison, which must neither be read into a result nor written.
template <class T>
struct Padded {
  Padded(int64_t rows, int64_t cols, T poison)
      : poison(poison),
        buffer(1 + rows * (cols + 3), poison),
        view(buffer.data() + 1, rows, cols, cols + 3) {}
  Padded(const std::vector<T>& values, int64_t rows, int64_t cols, T poison)
      : Padded(rows, cols, poison) {
    for (int64_t i = 0; i < rows; ++i)
      std::copy_n(values.data() + i * cols, cols, view.row(i).data());
  }
  bool PaddingIntact() const {
    for (int64_t i = 0; i < view.rows; ++i)
      for (int64_t j = view.cols; j < view.stride; ++j)
        if (std::memcmp(&view.data[i * view.stride + j], &poison, sizeof(T)) != 0) return false;
    return std::memcmp(&buffer[0], &poison, sizeof(T)) == 0;
  }
  T poison;
  std::vector<T> buffer;
  MatrixView<T> view;
};

std::unique_ptr<QuantMatrix> Make(const std::vector<float>& weights, int64_t outputs,
                                  int64_t inputs, WeightFormat format, Isa isa) {
  auto matrix = QuantMatrix::FromF32(MatrixView(weights.data(), outputs, inputs), format, isa);
  EXPECT_TRUE(matrix.ok()) << matrix.status();
  return std::move(*matrix);
}

std::vector<float> Product(const QuantMatrix& w, const std::vector<float>& x, int64_t rows,
                           ThreadPool* pool) {
  const Padded<float> in(x, rows, w.inputs(), kNaN);
  Padded<float> out(rows, w.outputs(), kNaN);
  w.Multiply(in.view, out.view, pool);
  EXPECT_TRUE(out.PaddingIntact());
  std::vector<float> y;
  for (int64_t i = 0; i < rows; ++i)
    y.insert(y.end(), out.view.row(i).begin(), out.view.row(i).end());
  return y;
}

// Around the tiles (14, 6 and 2 rows; 32 and 16 outputs), the row blocks (96 and 280) and the
// blocks of inputs (32 and 96).
constexpr int64_t kRows[] = {1, 2, 3, 5, 6, 7, 13, 14, 15, 29, 97, 281};
constexpr int64_t kOutputs[] = {1, 15, 16, 17, 31, 33, 64, 101};
constexpr int64_t kInputs[] = {32, 64, 96, 160, 192, 576};

template <class F>
void ForShapes(F f) {
  for (int64_t rows : kRows)
    for (int64_t outputs : kOutputs)
      for (int64_t inputs : kInputs)
        // All rows with few shapes, all shapes with few rows: each edge meets each once.
        if (rows <= 3 || rows == 15 || (outputs == 33 && inputs == 96)) f(rows, outputs, inputs);
}

TEST(QuantMatmul, EightBitsEqualTheReferenceBitForBit) {
  ForShapes([](int64_t rows, int64_t outputs, int64_t inputs) {
    const auto weights = RandomFloats(outputs * inputs, 1);
    const auto x = RandomFloats(rows * inputs, 2);
    const auto expected = Product(
        *Make(weights, outputs, inputs, WeightFormat::kI8Row, Isa::kReference), x, rows, nullptr);
    for (Isa isa : SupportedIsas()) {
      const auto w = Make(weights, outputs, inputs, WeightFormat::kI8Row, isa);
      EXPECT_EQ(Product(*w, x, rows, nullptr), expected)
          << IsaName(isa) << " " << rows << "x" << outputs << "x" << inputs;
    }
  });
}

// Every sum at its largest: nothing may saturate, in whatever order products are added.
TEST(QuantMatmul, ExtremesDoNotSaturate) {
  for (int64_t inputs : {64, 65536}) {
    for (float sign : {1.0f, -1.0f}) {
      const std::vector<float> weights(3 * inputs, 127.0f), x(2 * inputs, sign * 127.0f);
      for (Isa isa : SupportedIsas()) {
        const auto w = Make(weights, 3, inputs, WeightFormat::kI8Row, isa);
        // A block's sum, 96 * 127^2, is exact in f32; adding it to the total rounds once a block.
        const float exact = sign * 127.0f * 127.0f * inputs;
        for (float y : Product(*w, x, 2, nullptr))
          EXPECT_NEAR(y, exact, std::abs(exact) * (inputs / 96 + 2) * std::ldexp(1.0f, -24))
              << IsaName(isa);
        const auto w4 = Make(weights, 3, inputs, WeightFormat::kI4Block, isa);
        // Here two additions for each 32 inputs.
        for (float y : Product(*w4, x, 2, nullptr))
          EXPECT_NEAR(y, exact, std::abs(exact) * 2 * (inputs / 32) * std::ldexp(1.0f, -24))
              << IsaName(isa);
      }
    }
  }
}

// |q s - w| <= s / 2 for weights and activations, so |error| <= s_w / 2 * sum |x| + s_x / 2 *
// sum |q s_w|, with s = max / 127 and the row's max above any block's; f32 rounding adds far less
// than the 1 % of slack.
TEST(QuantMatmul, EightBitsAreWithinTheRoundingBoundOfF32) {
  constexpr int64_t kRows = 5, kOutputs = 37, kInputs = 576;
  const auto weights = RandomFloats(kOutputs * kInputs, 3);
  const auto x = RandomFloats(kRows * kInputs, 4);
  for (Isa isa : SupportedIsas()) {
    const auto w = Make(weights, kOutputs, kInputs, WeightFormat::kI8Row, isa);
    const auto y = Product(*w, x, kRows, nullptr);
    std::vector<float> row(kInputs);
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t n = 0; n < kOutputs; ++n) {
        w->DequantizeRow(n, row);
        double exact = 0, x_sum = 0, w_sum = 0, x_max = 0, w_max = 0;
        for (int64_t k = 0; k < kInputs; ++k) {
          const double a = x[i * kInputs + k], b = weights[n * kInputs + k];
          exact += a * b;
          x_sum += std::abs(a);
          w_sum += std::abs(row[k]);
          x_max = std::max(x_max, std::abs(a));
          w_max = std::max(w_max, std::abs(b));
        }
        const double bound = 1.01 * (w_max / 254 * x_sum + x_max / 254 * w_sum);
        EXPECT_NEAR(y[i * kOutputs + n], exact, bound) << IsaName(isa);
      }
    }
  }
}

// The reference adds in double; f32 kernels round 3 times a block of 32 inputs (scale times scale,
// two fused additions): |error| <= 3 * blocks * 2^-24 * sum of the blocks' absolute terms.
TEST(QuantMatmul, FourBitsEqualTheReferenceUpToF32Sums) {
  ForShapes([](int64_t rows, int64_t outputs, int64_t inputs) {
    const auto weights = RandomFloats(outputs * inputs, 5);
    const auto x = RandomFloats(rows * inputs, 6);
    const auto reference = Make(weights, outputs, inputs, WeightFormat::kI4Block, Isa::kReference);
    const auto expected = Product(*reference, x, rows, nullptr);
    std::vector<float> row(inputs);
    for (Isa isa : SupportedIsas()) {
      const auto y =
          Product(*Make(weights, outputs, inputs, WeightFormat::kI4Block, isa), x, rows, nullptr);
      for (int64_t i = 0; i < rows; ++i) {
        double norm = 0;  // |scale q| and |minimum| are at most 2 |minimum| + |w|, here below 16
        for (int64_t k = 0; k < inputs; ++k) norm += 16 * std::abs(x[i * inputs + k]);
        const double bound = 3 * (inputs / 32) * std::ldexp(norm, -24);
        for (int64_t n = 0; n < outputs; ++n)
          ASSERT_NEAR(y[i * outputs + n], expected[i * outputs + n], bound)
              << IsaName(isa) << " " << rows << "x" << outputs << "x" << inputs;
      }
    }
  });
}

TEST(QuantMatmul, ThreadsAndBatchesDoNotChangeBits) {
  constexpr int64_t kRows = 29, kOutputs = 101, kInputs = 160;
  const auto weights = RandomFloats(kOutputs * kInputs, 7);
  const auto x = RandomFloats(kRows * kInputs, 8);
  ThreadPool pool(3);
  for (Isa isa : SupportedIsas()) {
    for (WeightFormat format : {WeightFormat::kI8Row, WeightFormat::kI4Block}) {
      const auto w = Make(weights, kOutputs, kInputs, format, isa);
      const auto alone = Product(*w, x, kRows, nullptr);
      EXPECT_EQ(Product(*w, x, kRows, &pool), alone) << IsaName(isa);
      for (int64_t i = 0; i < kRows; ++i) {
        const std::vector<float> row(x.begin() + i * kInputs, x.begin() + (i + 1) * kInputs);
        const auto y = Product(*w, row, 1, nullptr);
        EXPECT_TRUE(std::equal(y.begin(), y.end(), alone.begin() + i * kOutputs)) << IsaName(isa);
      }
    }
  }
}

TEST(QuantMatmul, QuantisedRowsGiveTheSameProduct) {
  constexpr int64_t kRows = 14, kOutputs = 33, kInputs = 224;
  const auto weights = RandomFloats(kOutputs * kInputs, 9);
  const auto x = RandomFloats(kRows * kInputs, 10);
  for (Isa isa : SupportedIsas()) {
    for (WeightFormat format : {WeightFormat::kI8Row, WeightFormat::kI4Block}) {
      const auto w = Make(weights, kOutputs, kInputs, format, isa);
      const int64_t block = w->activation_block();
      Padded<int8_t> q(kRows, kInputs, 77);
      Padded<float> scales(kRows, (kInputs + block - 1) / block, kNaN);
      QuantiseRows(MatrixView(x.data(), kRows, kInputs), {block, q.view, scales.view}, isa);
      std::vector<float> y(kRows * kOutputs);
      w->MultiplyQuantised({block, q.view, scales.view}, MatrixView(y.data(), kRows, kOutputs),
                           nullptr);
      EXPECT_EQ(y, Product(*w, x, kRows, nullptr)) << IsaName(isa);
    }
  }
}

// Of what a row loses, a block without large values must not suffer: its scale is its own.
TEST(QuantMatmul, OneLargeValueSpoilsItsBlockAlone) {
  constexpr int64_t kInputs = 192;
  std::vector<float> weights(kInputs, 1.0f), x(kInputs, 0.37f);
  x[0] = 1000;
  weights[0] = 0;
  for (Isa isa : SupportedIsas()) {
    for (WeightFormat format : {WeightFormat::kI8Row, WeightFormat::kI4Block}) {
      const auto w = Make(weights, 1, kInputs, format, isa);
      const int64_t block = w->activation_block();
      // In the large value's block 0.37 is below half a step, and lost. The rest is kept to f32's
      // and f16's rounding.
      EXPECT_NEAR(Product(*w, x, 1, nullptr)[0], 0.37f * (kInputs - block), 0.05f) << IsaName(isa);
    }
  }
}

// Q4_0 and Q4_1 blocks with every nibble, ordinary and extreme f16 scales.
TEST(QuantMatmul, GgufBlocksAreKeptWithoutLoss) {
  constexpr int64_t kOutputs = 35, kInputs = 96;
  std::mt19937 random(11);
  for (GgmlType type : {GgmlType::kQ4_0, GgmlType::kQ4_1}) {
    std::vector<std::byte> blocks(kOutputs * kInputs / 32 * GgmlBlockBytes(type));
    for (std::byte& b : blocks) b = static_cast<std::byte>(random());
    const float scales[] = {0.01f, -0.5f, 6e-8f, 8000.0f, 0.0f};
    for (size_t b = 0; b < blocks.size(); b += GgmlBlockBytes(type)) {
      const F16 half[2] = {ToF16(scales[random() % 5]), ToF16(scales[random() % 5])};
      std::memcpy(&blocks[b], half, type == GgmlType::kQ4_1 ? 4 : 2);
    }
    std::vector<float> expected(kOutputs * kInputs);
    ASSERT_TRUE(DequantizeGgml(type, blocks, expected).ok());
    for (Isa isa : SupportedIsas()) {
      auto w = QuantMatrix::FromGguf(type, blocks, kOutputs, kInputs, isa);
      ASSERT_TRUE(w.ok()) << w.status();
      std::vector<float> row(kInputs);
      for (int64_t n = 0; n < kOutputs; ++n) {
        (*w)->DequantizeRow(n, row);
        EXPECT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + n * kInputs))
            << GgmlTypeName(type) << " " << IsaName(isa) << " row " << n;
      }
    }
  }
}

TEST(QuantMatmul, RowsComeBackWithinHalfAStep) {
  constexpr int64_t kOutputs = 35, kInputs = 64;
  const auto weights = RandomFloats(kOutputs * kInputs, 12);
  std::vector<float> row(kInputs);
  for (Isa isa : SupportedIsas()) {
    for (WeightFormat format : {WeightFormat::kI8Row, WeightFormat::kI4Block}) {
      const auto w = Make(weights, kOutputs, kInputs, format, isa);
      for (int64_t n = 0; n < kOutputs; ++n) {
        w->DequantizeRow(n, row);
        for (int64_t k = 0; k < kInputs; ++k) {
          const int64_t first = format == WeightFormat::kI8Row ? 0 : k / 32 * 32;
          const auto block = std::span(weights).subspan(
              n * kInputs + first, format == WeightFormat::kI8Row ? kInputs : 32);
          const auto [low, high] = std::ranges::minmax(block);
          const float step = format == WeightFormat::kI8Row
                                 ? std::max(std::abs(low), std::abs(high)) / 127
                                 : (high - low) / 15;
          // Scales and minima rounded to f16 are off by 2^-11 of themselves: up to 15 steps' worth.
          const float slack =
              format == WeightFormat::kI8Row
                  ? 0.01f * step
                  : (15 * step + std::abs(low)) * std::ldexp(1.0f, -11) + 0.01f * step;
          EXPECT_NEAR(row[k], weights[n * kInputs + k], step / 2 + slack) << IsaName(isa);
        }
      }
    }
  }
}

TEST(QuantMatmul, ShapesAndValuesItCannotKeepAreErrors) {
  std::vector<float> weights(2 * 48, 1.0f);
  EXPECT_EQ(
      QuantMatrix::FromF32(MatrixView<const float>(weights.data(), 2, 48), WeightFormat::kI8Row)
          .status()
          .code(),
      StatusCode::kInvalidArgument);
  weights[33] = kNaN;
  for (WeightFormat format : {WeightFormat::kI8Row, WeightFormat::kI4Block})
    EXPECT_EQ(QuantMatrix::FromF32(MatrixView<const float>(weights.data(), 2, 32), format)
                  .status()
                  .code(),
              StatusCode::kInvalidArgument);
  const std::vector<std::byte> blocks(2 * 18);
  EXPECT_TRUE(QuantMatrix::FromGguf(GgmlType::kQ4_0, blocks, 2, 32).ok());
  EXPECT_FALSE(QuantMatrix::FromGguf(GgmlType::kQ4_0, blocks, 3, 32).ok());
  EXPECT_FALSE(QuantMatrix::FromGguf(GgmlType::kQ8_0, blocks, 2, 32).ok());
  std::vector<std::byte> large(18);
  const F16 scale = ToF16(60000);
  std::memcpy(large.data(), &scale, 2);
  EXPECT_FALSE(QuantMatrix::FromGguf(GgmlType::kQ4_0, large, 1, 32).ok());
}

TEST(QuantiseRows, EveryIsaEqualsTheReference) {
  for (int64_t cols : {1, 7, 8, 15, 16, 17, 31, 33, 96, 576, 1000}) {
    auto x = RandomFloats(4 * cols, 13);
    std::fill_n(x.begin() + cols, cols, 0.0f);                     // a zero row
    for (int64_t j = 0; j < cols; ++j) x[2 * cols + j] *= 1e-35f;  // below every scale
    x[3 * cols] = 63.5f;  // with the maximum 127: a tie, to even
    x[4 * cols - 1] = -127.0f;
    const Padded<float> in(x, 4, cols, kNaN);
    for (int64_t block : {int64_t{32}, int64_t{96}, cols}) {
      const int64_t blocks = (cols + block - 1) / block;
      Padded<int8_t> expected(4, cols, 77);
      Padded<float> expected_scales(4, blocks, -1);
      QuantiseRows(in.view, {block, expected.view, expected_scales.view}, Isa::kReference);
      for (int64_t b = 0; b < blocks; ++b) {
        EXPECT_EQ(expected_scales.view.row(1)[b], 0);
        EXPECT_EQ(expected_scales.view.row(2)[b], 0);
      }
      EXPECT_EQ(expected.view.row(3).back(), -127);
      EXPECT_EQ(expected_scales.view.row(3).back(), 1);
      for (Isa isa : SupportedIsas()) {
        Padded<int8_t> q(4, cols, 77);
        Padded<float> scales(4, blocks, -1);
        QuantiseRows(in.view, {block, q.view, scales.view}, isa);
        EXPECT_EQ(q.buffer, expected.buffer) << IsaName(isa) << " " << cols << " " << block;
        EXPECT_EQ(scales.buffer, expected_scales.buffer) << IsaName(isa);
      }
    }
  }
}

}  // namespace
}  // namespace msa
