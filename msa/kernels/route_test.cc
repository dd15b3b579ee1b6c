#include "msa/kernels/route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "msa/kernels/ref/route.h"

namespace msa {

bool operator==(const RouteHit& a, const RouteHit& b) {
  return a.passage == b.passage && a.score == b.score;
}
void PrintTo(const RouteHit& hit, std::ostream* out) {
  *out << "{" << hit.passage.value << ", " << hit.score << "}";
}

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr DType kKeyDTypes[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kI8};

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaSupported(isa)) isas.push_back(isa);
  return isas;
}

std::string Describe(Isa isa, DType dtype) {
  return std::string(IsaName(isa)) + " " + std::string(DTypeName(dtype));
}

// A run that owns its memory: keys at an element's alignment and no more, poisoned rows on both
// sides, rows counted from a first one that belongs to no passage.
class KeyRows {
 public:
  static constexpr int64_t kRowsBefore = 1;

  // One row of `values` for each chunk; `chunks` of each passage.
  KeyRows(DType dtype, int64_t dim, const std::vector<std::vector<float>>& values,
          const std::vector<int64_t>& chunks, const std::vector<int64_t>& ids)
      : dtype_(dtype), dim_(dim) {
    const int64_t element = DTypeSize(dtype);
    const auto num_rows = static_cast<int64_t>(values.size());
    bytes_.resize(64 + element + (num_rows + 2 * kRowsBefore) * dim * element);
    auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    keys_ = bytes_.data() + (64 - address % 64) + element;
    scales_.assign(num_rows + 2 * kRowsBefore, kNaN);
    for (int64_t r = 0; r < num_rows + 2 * kRowsBefore; ++r) {
      const bool poison = r < kRowsBefore || r >= num_rows + kRowsBefore;
      SetRow(r, poison ? std::vector<float>(dim, kNaN) : values[r - kRowsBefore]);
    }
    chunk_begin_.push_back(kRowsBefore);
    for (int64_t n : chunks) chunk_begin_.push_back(chunk_begin_.back() + n);
    for (int64_t id : ids) ids_.push_back(PassageId{id});
  }

  void Hide(const std::vector<bool>& hidden) {
    visible_.assign(hidden.size() / 8 + 1, 0);
    for (size_t p = 0; p < hidden.size(); ++p)
      if (!hidden[p]) visible_[p / 8] |= static_cast<uint8_t>(1 << (p % 8));
  }

  RouterKeysView view() const {
    return {dtype_,
            static_cast<int64_t>(ids_.size()),
            dim_,
            keys_,
            dtype_ == DType::kI8 ? scales_.data() : nullptr,
            chunk_begin_.data(),
            ids_.data(),
            visible_.empty() ? nullptr : visible_.data()};
  }

 private:
  // int8 rows: multiples of a power of two, so that integers stay exact.
  void SetRow(int64_t row, const std::vector<float>& values) {
    float largest = 0;
    for (float x : values) largest = std::max(largest, std::abs(x));
    float scale = 1;
    while (largest > 127 * scale) scale *= 2;
    while (largest > 0 && largest <= 63 * scale && !integers(values, scale)) scale /= 2;
    if (!std::isnan(values[0])) scales_[row] = scale;
    for (int64_t e = 0; e < dim_; ++e) {
      std::byte* at = keys_ + (row * dim_ + e) * DTypeSize(dtype_);
      const float x = values[e];
      if (dtype_ == DType::kF32) std::memcpy(at, &x, 4);
      const uint16_t bits = dtype_ == DType::kBF16 ? ToBF16(x).bits : ToF16(x).bits;
      if (DTypeSize(dtype_) == 2) std::memcpy(at, &bits, 2);
      if (dtype_ == DType::kI8)
        *at = static_cast<std::byte>(
            std::isnan(x) ? 127 : static_cast<int8_t>(std::nearbyint(x / scale)));
    }
  }
  static bool integers(const std::vector<float>& values, float scale) {
    return std::all_of(values.begin(), values.end(),
                       [&](float x) { return x / scale == std::nearbyint(x / scale); });
  }

  DType dtype_;
  int64_t dim_;
  std::vector<std::byte> bytes_;
  std::byte* keys_;
  std::vector<float> scales_;
  std::vector<int64_t> chunk_begin_;
  std::vector<PassageId> ids_;
  std::vector<uint8_t> visible_;
};

// Values of a bank before they are cut into runs.
struct Passages {
  std::vector<int64_t> chunks;
  std::vector<std::vector<float>> rows;

  // A run of passages [begin, end), their ids being their indices here times 3.
  KeyRows Slice(DType dtype, size_t begin, size_t end) const {
    std::vector<int64_t> ids;
    size_t row_begin = 0, num_rows = 0;
    for (size_t p = 0; p < end; ++p) {
      (p < begin ? row_begin : num_rows) += chunks[p];
      if (p >= begin) ids.push_back(static_cast<int64_t>(3 * p));
    }
    return KeyRows(dtype, dim, {rows.begin() + row_begin, rows.begin() + row_begin + num_rows},
                   {chunks.begin() + begin, chunks.begin() + end}, ids);
  }
  KeyRows All(DType dtype) const { return Slice(dtype, 0, chunks.size()); }

  int64_t dim = 0;
};

using Draw = std::function<float()>;

Passages MakePassages(int64_t num_passages, int64_t max_chunks, int64_t dim, uint32_t seed,
                      const Draw& draw) {
  std::mt19937 random(seed);
  Passages passages;
  passages.dim = dim;
  for (int64_t p = 0; p < num_passages; ++p) {
    passages.chunks.push_back(static_cast<int64_t>(random() % (max_chunks + 1)));
    for (int64_t c = 0; c < passages.chunks.back(); ++c) {
      passages.rows.emplace_back(dim);
      for (float& x : passages.rows.back()) x = draw();
    }
  }
  return passages;
}

Draw Integers(int range, uint32_t seed) {
  return [range, random = std::mt19937(seed)]() mutable {
    return static_cast<float>(static_cast<int>(random() % (2 * range + 1)) - range);
  };
}
Draw Normal(uint32_t seed) {
  return [random = std::mt19937(seed), normal = std::normal_distribution<float>()]() mutable {
    return normal(random);
  };
}

// Integer queries that int8 keys meet without rounding: the largest element is the largest int16.
std::vector<float> IntegerQueries(int64_t tokens, int64_t dim, uint32_t seed) {
  std::vector<float> queries(tokens * dim);
  Draw draw = Integers(8, seed);
  for (float& x : queries) x = draw();
  for (int64_t t = 0; t < tokens; ++t) queries[t * dim + t % dim] = 32767;
  return queries;
}

struct Question {
  std::vector<float> queries;
  int64_t dim;
  std::vector<int64_t> token_begin;

  MatrixView<const float> view() const {
    return {queries.data(), static_cast<int64_t>(queries.size()) / dim, dim};
  }
};

Question OneQuestion(std::vector<float> queries, int64_t dim) {
  const auto tokens = static_cast<int64_t>(queries.size()) / dim;
  return {std::move(queries), dim, {0, tokens}};
}

std::vector<RouteHit> Route(const std::vector<RouterKeysView>& runs, const Question& question,
                            int64_t k, Isa isa, ThreadPool* pool = nullptr) {
  const auto num_questions = static_cast<int64_t>(question.token_begin.size()) - 1;
  const int64_t scratch_bytes = RouteScratchBytes(question.view().rows, question.dim, num_questions,
                                                  k, pool ? pool->num_threads() : 1);
  // One byte off any alignment, and a guard behind.
  std::vector<std::byte> scratch(1 + scratch_bytes + 64, std::byte{0x5a});
  std::vector<RouteHit> hits(num_questions * k);
  const Status status = RouteTopK(runs, question.view(), question.token_begin, k,
                                  std::span(scratch).subspan(1, scratch_bytes),
                                  {hits.data(), num_questions, k}, pool, isa);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(std::span(scratch).last(64), testing::Each(std::byte{0x5a})) << "wrote past scratch";
  return hits;
}

TEST(RouteTopK, EqualsReferenceExactlyOnIntegers) {
  for (DType dtype : kKeyDTypes) {
    for (int64_t dim : {16, 32, 48, 192, 208}) {
      for (int64_t num_passages : {0, 1, 5, 6, 7, 12, 17, 61}) {
        const Passages passages = MakePassages(num_passages, 3, dim, 1, Integers(8, 2));
        const KeyRows run = passages.All(dtype);
        for (int64_t tokens : {1, 2, 3, 4, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49}) {
          const Question question = OneQuestion(IntegerQueries(tokens, dim, 3), dim);
          const auto expected = Route({run.view()}, question, 5, Isa::kReference);
          for (Isa isa : SupportedIsas())
            ASSERT_EQ(Route({run.view()}, question, 5, isa), expected)
                << Describe(isa, dtype) << " dim " << dim << " passages " << num_passages
                << " tokens " << tokens;
        }
      }
    }
  }
}

double Norm(std::span<const float> x) {
  double squares = 0;
  for (float value : x) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

// What rounding may change of one score. Any order of n sums in f32 errs by at most
// n * 2^-24 / (1 - n * 2^-24) of sum |q k| <= |q| |k| (Higham, Accuracy and Stability, 3.5); the
// conversions and scales of int8 add less than 4 roundings; its query is rounded to 1/2 of its own
// step, which meets sum |k| <= sqrt(n) |k|. Stored keys are at most 1/20 longer than their values.
double Tolerance(DType dtype, std::span<const float> query, double key_norm) {
  const auto n = static_cast<double>(query.size());
  double tolerance = (n + 4) * 0x1.01p-24 * Norm(query);
  if (dtype == DType::kI8) {
    double l1 = 0, largest = 0;
    for (float x : query) {
      l1 += std::abs(x);
      largest = std::max<double>(largest, std::abs(x));
    }
    tolerance += 0.5 * 1.01 * std::max(largest / 32767, l1 * 128 * 0x1p-31) * std::sqrt(n);
  }
  return tolerance * 1.05 * key_norm;
}

// style.md's rules for comparing rankings.
void ExpectSameRanking(const std::vector<RouteHit>& found, const std::vector<RouteHit>& expected,
                       double tolerance) {
  std::set<int64_t> ids;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].score, expected[i].score, tolerance) << "rank " << i;
    if (found[i].passage.valid()) {
      EXPECT_TRUE(ids.insert(found[i].passage.value).second) << "twice: rank " << i;
    }
    const bool apart_before = i == 0 || expected[i - 1].score - expected[i].score > 2 * tolerance;
    const bool apart_behind =
        i + 1 < found.size() && expected[i].score - expected[i + 1].score > 2 * tolerance;
    if (apart_before && apart_behind) {
      EXPECT_EQ(found[i].passage, expected[i].passage) << "rank " << i;
    }
  }
}

TEST(RouteTopK, StaysWithinRoundingOfReference) {
  for (DType dtype : kKeyDTypes) {
    for (int64_t dim : {16, 192, 1040}) {
      const Passages passages = MakePassages(40, 3, dim, 4, Normal(5));
      const KeyRows run = passages.All(dtype);
      const RouterKeysView view = run.view();
      for (int64_t tokens : {1, 3, 20}) {
        std::vector<float> queries(tokens * dim);
        Draw draw = Normal(6);
        for (float& x : queries) x = draw();
        const Question question = OneQuestion(queries, dim);
        double key_norm = 0, tolerance = 0;
        for (const auto& row : passages.rows) key_norm = std::max(key_norm, Norm(row));
        for (int64_t t = 0; t < tokens; ++t)
          tolerance = std::max(tolerance, Tolerance(dtype, question.view().row(t), key_norm));
        const auto expected = Route({view}, question, 12, Isa::kReference);
        for (Isa isa : SupportedIsas()) {
          SCOPED_TRACE(Describe(isa, dtype) + " dim " + std::to_string(dim) + " tokens " +
                       std::to_string(tokens));
          ExpectSameRanking(Route({view}, question, 12, isa), expected, tolerance);
        }
      }
    }
  }
}

TEST(RouteTopK, TiesGoToSmallerId) {
  // Many more equal passages than places, spread over pieces, threads and runs.
  const Passages passages = MakePassages(6000, 2, 16, 7, [] { return 1.0f; });
  ThreadPool pool(3);
  for (DType dtype : kKeyDTypes) {
    const KeyRows first = passages.Slice(dtype, 0, 2000);
    const KeyRows second = passages.Slice(dtype, 2000, 6000);
    std::vector<RouteHit> expected;
    for (int64_t p = 0; expected.size() < 7; ++p)
      if (passages.chunks[p] > 0) expected.push_back({PassageId{3 * p}, 16 * 32767.0f});
    for (Isa isa : SupportedIsas()) {
      for (int64_t tokens : {1, 5}) {
        const Question question = OneQuestion(std::vector<float>(tokens * 16, 32767), 16);
        EXPECT_EQ(Route({second.view(), first.view()}, question, 7, isa, &pool), expected)
            << Describe(isa, dtype);
      }
    }
  }
}

TEST(RouteTopK, CutAndOrderOfRunsAndThreadsChangeNothing) {
  const int64_t dim = 32;
  const size_t count = 4000;
  const Passages passages = MakePassages(count, 4, dim, 8, Normal(9));
  for (DType dtype : kKeyDTypes) {
    const KeyRows whole = passages.All(dtype);
    std::vector<KeyRows> parts;
    for (size_t begin = 0, step = 1; begin < count; begin += step, step = step * 3 + 1)
      parts.push_back(passages.Slice(dtype, begin, std::min(begin + step, count)));
    std::vector<RouterKeysView> views;
    for (const KeyRows& part : parts) views.insert(views.begin(), part.view());
    for (int64_t tokens : {1, 2, 18}) {
      std::vector<float> queries(tokens * dim);
      Draw draw = Normal(10);
      for (float& x : queries) x = draw();
      const Question question = OneQuestion(queries, dim);
      for (Isa isa : SupportedIsas()) {
        if (isa == Isa::kReference && tokens > 2) continue;  // slow, and one plain loop
        const auto expected = Route({whole.view()}, question, 20, isa);
        for (int threads : {1, 2, 5}) {
          ThreadPool pool(threads);
          // Often, because a thread that is slow to wake finds no piece left.
          for (int i = 0; i < (isa == Isa::kReference ? 1 : 10); ++i)
            ASSERT_EQ(Route(views, question, 20, isa, &pool), expected)
                << Describe(isa, dtype) << " threads " << threads;
        }
      }
    }
  }
}

TEST(RouteTopK, QuestionsTogetherEqualQuestionsAlone) {
  const int64_t dim = 48;
  const Passages passages = MakePassages(300, 3, dim, 11, Integers(8, 12));
  const std::vector<int64_t> token_begin = {0, 1, 1, 20, 22, 40};  // one has no token
  const std::vector<float> queries = IntegerQueries(40, dim, 13);
  for (DType dtype : kKeyDTypes) {
    const KeyRows run = passages.All(dtype);
    for (Isa isa : SupportedIsas()) {
      const auto together = Route({run.view()}, {queries, dim, token_begin}, 6, isa);
      for (size_t q = 0; q + 1 < token_begin.size(); ++q) {
        const std::vector<float> alone(queries.begin() + token_begin[q] * dim,
                                       queries.begin() + token_begin[q + 1] * dim);
        const auto expected = Route({run.view()}, OneQuestion(alone, dim), 6, isa);
        const std::vector<RouteHit> found(together.begin() + q * 6, together.begin() + q * 6 + 6);
        EXPECT_EQ(found, expected) << Describe(isa, dtype) << " question " << q;
      }
    }
  }
}

TEST(RouteTopK, HiddenPassagesAreAsIfAbsent) {
  const int64_t dim = 16;
  const size_t count = 700;
  const Passages passages = MakePassages(count, 3, dim, 14, Integers(8, 15));
  for (int one_in : {1, 2, 9, 200}) {  // passages per hidden or per visible one
    for (bool mostly_visible : {false, true}) {
      std::vector<bool> hidden(count);
      std::mt19937 random(16);
      for (size_t p = 0; p < count; ++p) hidden[p] = (random() % one_in == 0) == mostly_visible;
      for (DType dtype : kKeyDTypes) {
        KeyRows run = passages.All(dtype);
        run.Hide(hidden);
        std::vector<KeyRows> visible;
        for (size_t p = 0; p < count; ++p)
          if (!hidden[p]) visible.push_back(passages.Slice(dtype, p, p + 1));
        std::vector<RouterKeysView> visible_views;
        for (const KeyRows& one : visible) visible_views.push_back(one.view());
        const Question question = OneQuestion(IntegerQueries(2, dim, 17), dim);
        const auto expected = Route(visible_views, question, 9, Isa::kReference);
        for (Isa isa : SupportedIsas())
          EXPECT_EQ(Route({run.view()}, question, 9, isa), expected)
              << Describe(isa, dtype) << " one in " << one_in;
      }
    }
  }
}

TEST(RouteTopK, FewerPassagesThanPlacesFillTheTail) {
  const Passages passages = MakePassages(2, 0, 16, 18, Integers(8, 19));  // no chunks at all
  Passages three = MakePassages(3, 1, 16, 18, Integers(8, 19));
  three.chunks = {1, 0, 2};
  three.rows.assign(3, std::vector<float>(16, 1.0f));
  for (Isa isa : SupportedIsas()) {
    const Question question = OneQuestion(std::vector<float>(16, 32767), 16);
    const RouteHit none = {kNoPassage, kMinusInfinity};
    const RouteHit first = {PassageId{0}, 16 * 32767.0f}, third = {PassageId{6}, 16 * 32767.0f};
    const KeyRows empty = passages.All(DType::kI8);
    const KeyRows run = three.All(DType::kI8);
    EXPECT_THAT(Route({}, question, 3, isa), testing::ElementsAre(none, none, none));
    EXPECT_THAT(Route({empty.view()}, question, 2, isa), testing::ElementsAre(none, none));
    EXPECT_THAT(Route({empty.view(), run.view(), empty.view()}, question, 4, isa),
                testing::ElementsAre(first, third, none, none));
  }
}

TEST(RouteTopK, NaNKeysAreNoHits) {
  Passages passages = MakePassages(50, 1, 16, 20, Integers(8, 21));
  passages.chunks.assign(50, 1);
  passages.rows.assign(50, std::vector<float>(16, 1.0f));
  for (size_t p = 0; p < 50; ++p)
    if (p != 17) passages.rows[p][p % 16] = kNaN;
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const KeyRows run = passages.All(dtype);
    for (Isa isa : SupportedIsas()) {
      for (int64_t tokens : {1, 6}) {
        const Question question = OneQuestion(std::vector<float>(tokens * 16, 1.0f), 16);
        EXPECT_THAT(Route({run.view()}, question, 2, isa),
                    testing::ElementsAre(RouteHit{PassageId{51}, 16.0f},
                                         RouteHit{kNoPassage, kMinusInfinity}))
            << Describe(isa, dtype);
      }
    }
  }
}

TEST(RouteTopK, AscendingScoresAndLongPassagesAreExact) {
  // The worst order for a threshold: every key beats all before it.
  Passages passages;
  passages.dim = 16;
  for (int64_t p = 0; p < 9; ++p) {
    passages.chunks.push_back(p == 4 ? 3000 : 40);
    for (int64_t c = 0; c < passages.chunks.back(); ++c)
      passages.rows.emplace_back(16, static_cast<float>(passages.rows.size()) / 16);
  }
  const KeyRows run = passages.All(DType::kF32);
  ThreadPool pool(2);
  const Question question = OneQuestion(std::vector<float>(16, 1.0f), 16);
  const auto expected = Route({run.view()}, question, 6, Isa::kReference);
  for (Isa isa : SupportedIsas())
    EXPECT_EQ(Route({run.view()}, question, 6, isa, &pool), expected) << IsaName(isa);
}

TEST(RouteTopK, RefusesQueriesThatAreNotFinite) {
  for (float bad : {kNaN, -kMinusInfinity}) {
    std::vector<float> queries(32, 1.0f);
    queries[19] = bad;
    std::vector<std::byte> scratch(RouteScratchBytes(2, 16, 1, 1, 1));
    RouteHit hit;
    const int64_t token_begin[] = {0, 2};
    const Status status =
        RouteTopK({}, {queries.data(), 2, 16}, token_begin, 1, scratch, {&hit, 1, 1}, nullptr);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), testing::HasSubstr("query token 1, element 3"));
  }
}

TEST(RouteTopK, RefusesSmallScratch) {
  const std::vector<float> queries(16, 1.0f);
  std::vector<std::byte> scratch(RouteScratchBytes(1, 16, 1, 4, 1) - 1);
  std::vector<RouteHit> hits(4);
  const int64_t token_begin[] = {0, 1};
  EXPECT_EQ(
      RouteTopK({}, {queries.data(), 1, 16}, token_begin, 4, scratch, {hits.data(), 1, 4}, nullptr)
          .code(),
      StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace msa
