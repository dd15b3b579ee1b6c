// Routing on x86: cuts all runs into pieces of whole passages, scores them block by block on the
// kernels of cpu/route_block.h, and keeps the best k of each question on each thread.
//
// A score below the k-th best one of its thread cannot be in the answer, so nearly every key costs
// one comparison, done on whole vectors by the block kernel. What a thread keeps is exact for the
// passages it saw, whatever pieces it got, so the merged answer does not depend on the division.

#include "msa/kernels/cpu/route.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include "msa/base/check.h"
#include "msa/kernels/cpu/route_block.h"
#include "msa/kernels/route_top_k.h"

namespace msa::cpu {
namespace {

// Rows a thread takes at a time: 1.5 MB of 192 f32, so that taking one costs nothing and the last
// ones leave no thread idle for long.
constexpr int64_t kPieceRows = 2048;

// Hidden passages between visible ones are scored along (and then dropped) up to this many rows:
// about what starting another block costs.
constexpr int64_t kGapRows = 16;

int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Hands out aligned parts of the caller's scratch; without scratch it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}

  template <class T>
  T* Take(int64_t count) {
    used_ = RoundUp(used_, kAlignment);
    T* part = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += count * static_cast<int64_t>(sizeof(T));
    return part;
  }
  int64_t used_bytes() const { return used_; }

  static constexpr int64_t kAlignment = 64;

 private:
  std::byte* base_;
  int64_t used_ = 0;
};

struct ThreadState {
  TopKHeap* top;      // [questions]
  RouteHit* heaps;    // [questions, k]
  float* thresholds;  // [padded tokens]
  float* decoded;
  float* scores;
  // Pieces come in ascending order, so the search for a piece's run goes on where the last ended.
  size_t run = 0;
  int64_t run_begin = 0;  // the run's first row, counted over all runs
};

struct Workspace {
  float* f32;
  int16_t* i16;
  float* i16_scales;
  int32_t* question_of;  // [tokens]
  ThreadState* threads;

  Workspace(Carver& carver, int64_t num_tokens, int64_t dim, int64_t num_questions, int64_t k,
            int num_threads) {
    const int64_t padded = RoundUp(std::max<int64_t>(num_tokens, 1), kRouteMaxLanes);
    f32 = carver.Take<float>(padded * dim);
    i16 = carver.Take<int16_t>(padded * dim);
    i16_scales = carver.Take<float>(padded);
    question_of = carver.Take<int32_t>(num_tokens);
    threads = carver.Take<ThreadState>(num_threads);
    for (int i = 0; i < num_threads; ++i) {
      ThreadState state;
      state.top = carver.Take<TopKHeap>(num_questions);
      state.heaps = carver.Take<RouteHit>(num_questions * k);
      state.thresholds = carver.Take<float>(padded);
      state.decoded = carver.Take<float>(kRouteMaxTileRows * dim);
      state.scores = carver.Take<float>(kRouteBlockRows * padded);
      if (threads != nullptr) std::construct_at(&threads[i], state);
    }
  }
};

// The scale with which a token's int16 keep sum |q| * 128 below 2^31: see RouteQueries.
float QueryScale(std::span<const float> x) {
  double largest = 0;
  double l1 = 0;
  for (float value : x) {
    largest = std::max<double>(largest, std::abs(value));
    l1 += std::abs(value);
  }
  // Rounding adds at most 1/2 to each element.
  const double limit = 0x1p31 / 128 - 0.5 * static_cast<double>(x.size()) - 1;
  return static_cast<float>(std::max(largest / 32767, l1 / limit));
}

int16_t QuantiseElement(float x, float scale) {
  if (scale == 0) return 0;
  return static_cast<int16_t>(std::clamp(std::nearbyint(x / scale), -32767.0f, 32767.0f));
}

// Lays the tokens out as RouteQueries says.
RouteQueries PrepareQueries(MatrixView<const float> queries, const RouteBlockKernel& kernel,
                            const Workspace& space) {
  const int64_t lanes = queries.rows <= kernel.max_row_tokens ? 1 : kernel.lanes;
  const RouteQueries out = {.num_tokens = queries.rows,
                            .key_dim = queries.cols,
                            .lanes = lanes,
                            .num_groups = RoundUp(queries.rows, lanes) / lanes,
                            .f32 = space.f32,
                            .i16 = space.i16,
                            .i16_scales = space.i16_scales};
  for (int64_t t = 0; t < out.padded_tokens(); ++t) {
    const bool padding = t >= queries.rows;
    const float scale = padding ? 0 : QueryScale(queries.row(t));
    space.i16_scales[t] = scale;
    const int64_t lane = t % lanes;
    const int64_t group_begin = (t - lane) * queries.cols;
    for (int64_t e = 0; e < queries.cols; ++e) {
      const float x = padding ? 0 : queries.row(t)[e];
      space.f32[group_begin + e * lanes + lane] = x;
      space.i16[group_begin + (e / 2 * lanes + lane) * 2 + e % 2] = QuantiseElement(x, scale);
    }
  }
  return out;
}

// The first p in [begin, end) whose bit is `value`, or end.
int64_t FindBit(const uint8_t* bits, int64_t begin, int64_t end, bool value) {
  const uint8_t none = value ? 0x00 : 0xff;
  int64_t p = begin;
  while (p < end) {
    if (p % 8 == 0 && bits[p / 8] == none) {
      p += 8;
    } else if (((bits[p / 8] >> (p % 8)) & 1) == value) {
      return p;
    } else {
      ++p;
    }
  }
  return end;
}

// A run's passages; rows are counted from the start of `keys`.
class RunPassages {
 public:
  explicit RunPassages(const RouterKeysView& run) : run_(run) {}

  int64_t first_row() const { return begin(0); }
  int64_t num_rows() const { return begin(run_.num_passages) - begin(0); }
  int64_t begin(int64_t passage) const { return run_.chunk_begin[passage]; }

  // The first passage that begins at `row` or later; num_passages if there is none.
  int64_t FirstFrom(int64_t row) const {
    const int64_t* end = run_.chunk_begin + run_.num_passages;
    return std::lower_bound(run_.chunk_begin, end, row) - run_.chunk_begin;
  }
  // The passage that holds `row`, which is at or after passage `from`. Gallops: candidates are
  // rare and ascending, or frequent and near.
  int64_t Holding(int64_t row, int64_t from) const {
    int64_t step = 1;
    int64_t last = from;  // begins at or before row
    while (last + step < run_.num_passages && run_.chunk_begin[last + step] <= row) {
      last += step;
      step *= 2;
    }
    const int64_t* first = run_.chunk_begin + last;
    const int64_t* end = run_.chunk_begin + std::min(last + step, run_.num_passages);
    return std::upper_bound(first, end, row) - run_.chunk_begin - 1;
  }

  // The next passages worth scoring in [*begin, end): sets [*begin, *span_end), false if none.
  bool NextSpan(int64_t* begin, int64_t end, int64_t* span_end) const {
    if (run_.visible == nullptr) {
      *span_end = end;
      return *begin < end;
    }
    *begin = FindBit(run_.visible, *begin, end, true);
    if (*begin == end) return false;
    for (int64_t next = *begin;;) {
      *span_end = FindBit(run_.visible, next, end, false);
      next = FindBit(run_.visible, *span_end, end, true);
      if (next == end || this->begin(next) - this->begin(*span_end) > kGapRows) return true;
    }
  }

 private:
  const RouterKeysView& run_;
};

// One call of TopKHeap. Threads share the constants and have a ThreadState each.
class Router {
 public:
  Router(std::span<const RouterKeysView> runs, const RouteQueries& queries,
         std::span<const int64_t> token_begin, const RouteBlockKernel& kernel,
         const Workspace& space)
      : runs_(runs), queries_(queries), token_begin_(token_begin), kernel_(kernel), space_(space) {
    for (size_t q = 0; q + 1 < token_begin.size(); ++q)
      std::fill(space.question_of + token_begin[q], space.question_of + token_begin[q + 1],
                static_cast<int32_t>(q));
  }

  void StartThread(ThreadState& state, int64_t k) const {
    for (int64_t q = 0; q < num_questions(); ++q)
      std::construct_at(&state.top[q], state.heaps + q * k, k);
    std::fill_n(state.thresholds, queries_.padded_tokens(), std::numeric_limits<float>::infinity());
    for (int64_t q = 0; q < num_questions(); ++q) UpdateThresholds(state, q);
  }

  // Rows [begin, end) counted over all runs: scores the passages that begin there.
  void ScanPiece(int64_t begin, int64_t end, ThreadState& state) const {
    while (begin < end) {
      const RunPassages run(runs_[state.run]);
      const int64_t run_end = state.run_begin + run.num_rows();
      if (begin >= run_end) {
        state.run_begin = run_end;
        ++state.run;
        continue;
      }
      const int64_t piece_end = std::min(end, run_end);
      const int64_t shift = run.first_row() - state.run_begin;
      ScanPassages(runs_[state.run], run, run.FirstFrom(begin + shift),
                   run.FirstFrom(piece_end + shift), state);
      begin = piece_end;
    }
  }

  int64_t num_questions() const { return static_cast<int64_t>(token_begin_.size()) - 1; }

 private:
  void ScanPassages(const RouterKeysView& run, const RunPassages& passages, int64_t begin,
                    int64_t end, ThreadState& state) const {
    for (int64_t span_end; passages.NextSpan(&begin, end, &span_end); begin = span_end) {
      const int64_t end_row = passages.begin(span_end);
      int64_t passage = begin;
      for (int64_t row = passages.begin(begin); row < end_row; row += kRouteBlockRows) {
        const int64_t rows = std::min(end_row - row, kRouteBlockRows);
        uint64_t found =
            kernel_.score(queries_, run, row, rows, state.thresholds, state.decoded, state.scores);
        for (; found != 0; found &= found - 1) {
          const int64_t r = std::countr_zero(found);
          passage = passages.Holding(row + r, passage);
          if (run.IsVisible(passage)) OfferRow(run.passage_ids[passage], r, state);
        }
      }
    }
  }

  void OfferRow(PassageId passage, int64_t row, ThreadState& state) const {
    const float* scores = state.scores + row * queries_.row_stride();
    for (int64_t t = 0; t < queries_.num_tokens; ++t) {
      const float score = scores[t * queries_.token_stride()];
      if (!(score >= state.thresholds[t])) continue;
      const int32_t question = space_.question_of[t];
      if (state.top[question].Offer(passage, score)) UpdateThresholds(state, question);
    }
  }

  void UpdateThresholds(ThreadState& state, int64_t question) const {
    std::fill(state.thresholds + token_begin_[question],
              state.thresholds + token_begin_[question + 1], state.top[question].threshold());
  }

  const std::span<const RouterKeysView> runs_;
  const RouteQueries& queries_;
  const std::span<const int64_t> token_begin_;
  const RouteBlockKernel& kernel_;
  const Workspace& space_;
};

}  // namespace

int64_t RouteScratchBytes(int64_t num_query_tokens, int64_t key_dim, int64_t num_questions,
                          int64_t k, int num_threads) {
  Carver carver(nullptr);
  Workspace(carver, num_query_tokens, key_dim, num_questions, k, num_threads);
  return carver.used_bytes() + Carver::kAlignment;  // the caller's scratch may start anywhere
}

void RouteTopK(std::span<const RouterKeysView> runs, MatrixView<const float> queries,
               std::span<const int64_t> token_begin, int64_t k, std::span<std::byte> scratch,
               MatrixView<RouteHit> hits, ThreadPool* pool, Isa isa) {
  const RouteBlockKernel& kernel = isa == Isa::kAvx512Vnni ? kRouteBlockAvx512 : kRouteBlockAvx2;
  const int num_threads = pool ? pool->num_threads() : 1;
  const int64_t num_questions = hits.rows;
  void* base = scratch.data();
  size_t space_bytes = scratch.size();
  std::align(Carver::kAlignment, 1, base, space_bytes);
  Carver carver(static_cast<std::byte*>(base));
  const Workspace space(carver, queries.rows, queries.cols, num_questions, k, num_threads);
  const RouteQueries prepared = PrepareQueries(queries, kernel, space);

  const Router router(runs, prepared, token_begin, kernel, space);
  for (int i = 0; i < num_threads; ++i) router.StartThread(space.threads[i], k);
  int64_t num_rows = 0;
  for (const RouterKeysView& run : runs) num_rows += RunPassages(run).num_rows();
  const auto scan = [&](int64_t begin, int64_t end, int thread) {
    router.ScanPiece(begin, end, space.threads[thread]);
  };
  if (pool == nullptr) {
    scan(0, num_rows, 0);
  } else {
    pool->ParallelFor(num_rows, kPieceRows, scan);
  }

  for (int64_t q = 0; q < num_questions; ++q) {
    TopKHeap merged(hits.row(q).data(), k);
    for (int i = 0; i < num_threads; ++i) {
      TopKHeap& part = space.threads[i].top[q];
      part.Flush();
      for (const RouteHit& hit : part) merged.Offer(hit.passage, hit.score);
    }
    merged.Finish();
  }
}

}  // namespace msa::cpu
