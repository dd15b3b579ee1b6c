// The best k passages of one question, kept while keys stream by.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "msa/kernels/route.h"

namespace msa {

// Routing's order: higher scores first, equal ones by the smaller id.
inline bool RanksBefore(const RouteHit& a, const RouteHit& b) {
  return a.score != b.score ? a.score > b.score : a.passage < b.passage;
}

// A heap on borrowed memory, worst hit on top. What it ends with depends on the set of offers, not
// on their order, as long as all chunks of a passage are offered without another passage between.
class TopKHeap {
 public:
  TopKHeap() = default;
  TopKHeap(RouteHit* hits, int64_t capacity) : hits_(hits), capacity_(capacity) {}

  // A passage below this cannot enter; never -inf, because such a passage is no hit.
  float threshold() const { return threshold_; }

  // A chunk of `passage` scores `score` >= threshold(). Returns whether threshold() changed.
  bool Offer(PassageId passage, float score) {
    if (passage == pending_.passage) {
      pending_.score = std::max(pending_.score, score);
      return false;
    }
    const bool changed = Flush();
    pending_ = {passage, score};
    return changed;
  }

  // Enters the passage offered last. Returns whether threshold() changed.
  bool Flush() {
    if (pending_.passage == kNoPassage) return false;
    const RouteHit hit = std::exchange(pending_, {kNoPassage, 0});
    if (size_ == capacity_) {
      if (!RanksBefore(hit, hits_[0])) return false;
      std::pop_heap(hits_, hits_ + size_--, RanksBefore);
    }
    hits_[size_++] = hit;
    std::push_heap(hits_, hits_ + size_, RanksBefore);
    if (size_ == capacity_) threshold_ = hits_[0].score;
    return size_ == capacity_;
  }

  // After Flush(): the hits, in no order.
  const RouteHit* begin() const { return hits_; }
  const RouteHit* end() const { return hits_ + size_; }

  // Flushes, sorts the hits best first and fills the rest of the capacity with {kNoPassage, -inf}.
  void Finish() {
    Flush();
    std::sort_heap(hits_, hits_ + size_, RanksBefore);
    std::fill(hits_ + size_, hits_ + capacity_,
              RouteHit{kNoPassage, -std::numeric_limits<float>::infinity()});
  }

 private:
  RouteHit* hits_ = nullptr;
  int64_t capacity_ = 0;
  int64_t size_ = 0;
  RouteHit pending_{kNoPassage, 0};
  float threshold_ = std::numeric_limits<float>::lowest();
};

}  // namespace msa
