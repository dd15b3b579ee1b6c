#include "msa/engine/fusion.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <unordered_map>

namespace msa {
namespace {

struct Standard {
  double floor = 0;
  double deviation = 1;
};

Standard StandardOf(std::span<const LexicalHit> hits) {
  constexpr auto kCount = static_cast<double>(kFusionDepth);
  const double last = hits.back().score;
  const double floor = std::ssize(hits) < kFusionDepth ? std::min(0.0, last) : last;
  double sum = 0;
  double squares = 0;
  for (const LexicalHit& hit : hits.first(std::min<size_t>(hits.size(), kFusionDepth))) {
    sum += hit.score - floor;
    squares += (hit.score - floor) * (hit.score - floor);
  }
  const double variance = squares / kCount - sum / kCount * sum / kCount;
  return {floor, variance > 0 ? std::sqrt(variance) : 1};
}

}  // namespace

std::vector<FusedPassage> FuseScores(const std::vector<RankedList>& lists, int64_t k) {
  std::unordered_map<PassageId, double> scores;
  for (const RankedList& list : lists) {
    if (list.weight <= 0 || list.hits.empty()) continue;
    const Standard standard = list.standardised ? Standard{} : StandardOf(list.hits);
    for (const LexicalHit& hit : list.hits) {
      scores[hit.passage] += list.weight * (hit.score - standard.floor) / standard.deviation;
    }
  }
  std::vector<FusedPassage> fused;
  fused.reserve(scores.size());
  for (const auto& [passage, score] : scores) fused.push_back({passage, score});
  const auto better = [](const FusedPassage& a, const FusedPassage& b) {
    return a.score != b.score ? a.score > b.score : a.passage < b.passage;
  };
  const size_t keep = std::min(fused.size(), static_cast<size_t>(std::max<int64_t>(k, 0)));
  std::partial_sort(fused.begin(), fused.begin() + static_cast<std::ptrdiff_t>(keep), fused.end(),
                    better);
  fused.resize(keep);
  return fused;
}

}  // namespace msa
