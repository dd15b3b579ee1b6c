#include "msa/engine/fusion.h"

#include <algorithm>
#include <unordered_map>

namespace msa {
namespace {

// The constant of the paper: large enough that no list's first place outvotes agreement.
constexpr double kRankOffset = 60;

}  // namespace

std::vector<FusedPassage> FuseReciprocalRank(const std::vector<RankedList>& lists, int64_t k) {
  std::unordered_map<PassageId, double> scores;
  for (const RankedList& list : lists) {
    if (list.weight <= 0) continue;
    for (size_t i = 0; i < list.passages.size(); ++i) {
      scores[list.passages[i]] += list.weight / (kRankOffset + static_cast<double>(i + 1));
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
