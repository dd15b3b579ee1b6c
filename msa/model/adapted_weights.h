// A backbone's weights with the low-rank updates of an adapter's tower or of one of its readers
// merged in.
#pragma once

#include <vector>

#include "msa/model/adapter.h"
#include "msa/model/weight_source.h"

namespace msa {

// W' = W + b^T a, computed in f32 as a weight is read; the rest as the file has it. Merged, a layer
// costs no more to run than without an adapter.
class AdaptedWeights {
 public:
  // `updates` has one entry a layer, or none; both outlive this.
  AdaptedWeights(const WeightSource& source, const std::vector<LowRankLayer>& updates)
      : source_(source), updates_(updates) {}

  const BackboneConfig& config() const { return source_.config(); }
  std::array<int64_t, 2> Shape(Weight weight) const { return source_.Shape(weight); }

  // Has the weight an update? Any weight of the layer?
  bool IsUpdated(WeightId id) const { return Update(id) != nullptr; }
  bool IsUpdated(int64_t layer) const;

  // As WeightSource has them; an updated weight has no blocks.
  Status Read(WeightId id, std::span<float> out) const;
  std::optional<WeightBlocks> ReadBlocks(WeightId id) const;

 private:
  const LowRank* Update(WeightId id) const;  // null: none

  const WeightSource& source_;
  const std::vector<LowRankLayer>& updates_;
};

}  // namespace msa
