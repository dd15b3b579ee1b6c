#include "msa/kernels/ref/route.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "msa/base/check.h"

namespace msa::ref {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

float KeyElement(const RouterKeysView& run, int64_t row, int64_t e) {
  const int64_t i = row * run.key_dim + e;
  switch (run.dtype) {
    case DType::kF32: return static_cast<const float*>(run.keys)[i];
    case DType::kBF16: return ToFloat(static_cast<const BF16*>(run.keys)[i]);
    case DType::kF16: return ToFloat(static_cast<const F16*>(run.keys)[i]);
    case DType::kI8: return static_cast<float>(static_cast<const int8_t*>(run.keys)[i]);
    default: MSA_CHECK(!"a key dtype that RouteTopK has checked");
  }
  return 0;
}

bool IsVisible(const RouterKeysView& run, int64_t passage) {
  return run.visible == nullptr || (run.visible[passage / 8] >> (passage % 8) & 1) != 0;
}

// The maximum over the passage's chunks and the question's tokens.
float PassageScore(const RouterKeysView& run, int64_t passage, MatrixView<const float> queries,
                   int64_t token_begin, int64_t token_end) {
  float best = kMinusInfinity;
  for (int64_t row = run.chunk_begin[passage]; row < run.chunk_begin[passage + 1]; ++row)
    for (int64_t t = token_begin; t < token_end; ++t)
      best = std::max(best, RouteScore(run, row, queries.row(t)));
  return best;
}

// Puts a hit in its place among the best; the last one falls out.
void Insert(std::span<RouteHit> best_first, RouteHit hit) {
  for (RouteHit& place : best_first) {
    const bool before =
        hit.score > place.score || (hit.score == place.score && hit.passage < place.passage);
    if (before) std::swap(hit, place);
  }
}

}  // namespace

float RouteScore(const RouterKeysView& run, int64_t row, std::span<const float> query) {
  double sum = 0;
  for (int64_t e = 0; e < run.key_dim; ++e)
    sum += static_cast<double>(KeyElement(run, row, e)) * query[e];
  if (run.dtype == DType::kI8) sum *= run.scales[row];
  return std::isnan(sum) ? kMinusInfinity : static_cast<float>(sum);
}

void RouteTopK(std::span<const RouterKeysView> runs, MatrixView<const float> queries,
               std::span<const int64_t> token_begin, int64_t k, MatrixView<RouteHit> hits) {
  for (int64_t q = 0; q < hits.rows; ++q) {
    const std::span<RouteHit> best_first = hits.row(q).first(k);
    std::fill(best_first.begin(), best_first.end(), RouteHit{kNoPassage, kMinusInfinity});
    for (const RouterKeysView& run : runs) {
      for (int64_t p = 0; p < run.num_passages; ++p) {
        if (!IsVisible(run, p)) continue;
        const float score = PassageScore(run, p, queries, token_begin[q], token_begin[q + 1]);
        if (score > kMinusInfinity) Insert(best_first, {run.passage_ids[p], score});
      }
    }
  }
}

}  // namespace msa::ref
