#include "msa/kernels/attend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace msa {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaSupported(isa)) isas.push_back(isa);
  return isas;
}

// q, k and v side by side in one matrix, as a product with all three gives them.
struct Inputs {
  Inputs(const AttentionShape& shape, int64_t tokens, uint32_t seed)
      : shape(shape),
        q_cols(shape.num_heads * shape.head_dim),
        kv_cols(shape.num_kv_heads * shape.head_dim),
        stride(q_cols + 2 * kv_cols),
        tokens(tokens),
        data(tokens * stride) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1.5f);
    for (float& x : data) x = normal(random);
  }
  MatrixView<const float> q(int64_t begin = 0) const { return View(begin, 0, q_cols); }
  MatrixView<const float> k(int64_t begin = 0) const { return View(begin, q_cols, kv_cols); }
  MatrixView<const float> v(int64_t begin = 0) const {
    return View(begin, q_cols + kv_cols, kv_cols);
  }
  MatrixView<const float> View(int64_t begin, int64_t column, int64_t cols) const {
    return {data.data() + begin * stride + column, tokens - begin, cols, stride};
  }

  AttentionShape shape;
  int64_t q_cols, kv_cols, stride, tokens;
  std::vector<float> data;
};

// The definition, from rows of k and v: token t of q sees entries 0 .. first_limit + t - 1.
std::vector<float> Expected(const AttentionShape& shape, MatrixView<const float> q,
                            MatrixView<const float> k, MatrixView<const float> v,
                            int64_t first_limit, std::span<const float> bias) {
  const int64_t dim = shape.head_dim, group = shape.num_heads / shape.num_kv_heads;
  std::vector<float> out;
  for (int64_t t = 0; t < q.rows; ++t) {
    for (int64_t h = 0; h < shape.num_heads; ++h) {
      const int64_t limit = first_limit + t, kv = h / group * dim;
      std::vector<double> weight(limit);
      double sum = 0;
      for (int64_t s = 0; s < limit; ++s) {
        double dot = 0;
        for (int64_t i = 0; i < dim; ++i)
          dot += static_cast<double>(q.row(t)[h * dim + i]) * k.row(s)[kv + i];
        weight[s] = std::exp(dot / std::sqrt(dim) + (s < std::ssize(bias) ? bias[s] : 0));
        sum += weight[s];
      }
      for (int64_t i = 0; i < dim; ++i) {
        double value = 0;
        for (int64_t s = 0; s < limit; ++s) value += weight[s] * v.row(s)[kv + i];
        out.push_back(static_cast<float>(value / sum));
      }
    }
  }
  return out;
}

// A logit is a sum of D products of size about 1.5^2, off by less than D * 2^-24 of their absolute
// sum (below 4 * 1.5^2 * sqrt(D)); weights are off by as much relatively, values are below 8.
double Tolerance(const AttentionShape& shape) {
  const double logit = shape.head_dim * std::ldexp(9.0 * std::sqrt(shape.head_dim), -24);
  return 2 * 8 * logit;
}

constexpr AttentionShape kShapes[] = {{9, 3, 64}, {4, 2, 16}, {2, 2, 128}, {3, 1, 40}, {1, 1, 8}};

TEST(AttendPassages, EachPassageIsCausalAndAlone) {
  const std::vector<int64_t> begin = {0, 1, 1, 18, 51, 115, 148};  // 1, 0, 17, 33, 64, 33 tokens
  for (const AttentionShape& shape : kShapes) {
    const Inputs in(shape, begin.back(), 1);
    for (Isa isa : SupportedIsas()) {
      const int64_t stride = in.q_cols + 5;
      std::vector<float> out(begin.back() * stride, kNaN);
      const MatrixView<float> y(out.data(), begin.back(), in.q_cols, stride);
      AttendPassages(shape, in.q(), in.k(), in.v(), begin, y, isa);
      for (size_t p = 0; p + 1 < begin.size(); ++p) {
        MatrixView<const float> q = in.q(begin[p]);
        q.rows = begin[p + 1] - begin[p];
        const auto expected = Expected(shape, q, in.k(begin[p]), in.v(begin[p]), 1, {});
        for (int64_t i = 0; i < q.rows; ++i) {
          for (int64_t j = 0; j < in.q_cols; ++j)
            ASSERT_NEAR(y.row(begin[p] + i)[j], expected[i * in.q_cols + j], Tolerance(shape))
                << IsaName(isa) << " head dim " << shape.head_dim << " passage " << p;
          EXPECT_TRUE(std::isnan(out[(begin[p] + i) * stride + in.q_cols]));
        }
      }
    }
  }
}

TEST(AttendCache, SeesAllThatCameBeforeWithBias) {
  const std::vector<float> bias = {0.5f, -2.0f, 3.0f};
  ThreadPool pool(3);
  for (const AttentionShape& shape : kShapes) {
    for (auto [tokens, queries] : {std::pair<int64_t, int64_t>{3, 1}, {32, 1}, {33, 2}, {70, 31}}) {
      const Inputs in(shape, tokens, 2);
      KvCache cache(shape);
      for (int64_t i = 0; i < tokens;) {  // in uneven pieces, to cross tiles
        const int64_t count = std::min<int64_t>(tokens - i, i % 13 + 1);
        auto k = in.k(i), v = in.v(i);
        k.rows = v.rows = count;
        cache.Append(k, v);
        i += count;
      }
      ASSERT_EQ(cache.size(), tokens);
      const auto q = in.q(tokens - queries);
      const auto expected = Expected(shape, q, in.k(), in.v(), tokens - queries + 1, bias);
      for (Isa isa : SupportedIsas()) {
        std::vector<float> y(queries * in.q_cols), threaded(y.size());
        AttendCache(q, cache, bias, MatrixView(y.data(), queries, in.q_cols), nullptr, isa);
        AttendCache(q, cache, bias, MatrixView(threaded.data(), queries, in.q_cols), &pool, isa);
        EXPECT_EQ(y, threaded) << IsaName(isa);
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_NEAR(y[i], expected[i], Tolerance(shape)) << IsaName(isa) << " " << tokens;
      }
    }
  }
}

TEST(AttendCache, TruncatedEntriesAreForgotten) {
  const AttentionShape shape = {2, 1, 32};
  const Inputs in(shape, 40, 3);
  auto k = in.k(), v = in.v();
  k.rows = v.rows = 35;
  KvCache cache(shape), fresh(shape);
  fresh.Append(k, v);
  cache.Append(k, v);
  // NaN in what is forgotten would show in any result it reached.
  const std::vector<float> poison(5 * in.kv_cols, kNaN);
  const MatrixView<const float> nan(poison.data(), 5, in.kv_cols);
  cache.Append(nan, nan);
  cache.Truncate(35);
  auto q = in.q();
  q.rows = 3;
  for (Isa isa : SupportedIsas()) {
    std::vector<float> y(3 * in.q_cols), expected(y.size());
    AttendCache(q, cache, {}, MatrixView(y.data(), 3, in.q_cols), nullptr, isa);
    AttendCache(q, fresh, {}, MatrixView(expected.data(), 3, in.q_cols), nullptr, isa);
    EXPECT_EQ(y, expected) << IsaName(isa);
  }
}

TEST(AttendCache, LargeLogitsDoNotOverflow) {
  const AttentionShape shape = {1, 1, 16};
  Inputs in(shape, 2, 4);
  for (float& x : in.data) x = 100;  // q.k / sqrt(16) = 40,000: equal weights
  KvCache cache(shape);
  cache.Append(in.k(), in.v());
  for (Isa isa : SupportedIsas()) {
    std::vector<float> y(2 * in.q_cols);
    AttendCache(in.q(), cache, {}, MatrixView(y.data(), 2, in.q_cols), nullptr, isa);
    for (float value : y) EXPECT_NEAR(value, 100, 1e-4) << IsaName(isa);
  }
}

}  // namespace
}  // namespace msa
