#include "msa/model/adapted_weights.h"

#include <algorithm>

#include "msa/kernels/low_rank.h"

namespace msa {

const LowRank* AdaptedWeights::Update(WeightId id) const {
  if (updates_.empty()) return nullptr;
  const auto at = std::ranges::find(kAdaptedWeights, id.weight);
  if (at == kAdaptedWeights.end()) return nullptr;
  const LowRankLayer& layer = updates_[static_cast<size_t>(id.layer)];
  const LowRank& update = layer[static_cast<size_t>(at - kAdaptedWeights.begin())];
  return update.rank > 0 ? &update : nullptr;
}

bool AdaptedWeights::IsUpdated(int64_t layer) const {
  return std::ranges::any_of(kAdaptedWeights,
                             [&](Weight weight) { return IsUpdated({weight, layer}); });
}

Status AdaptedWeights::Read(WeightId id, std::span<float> out) const {
  MSA_RETURN_IF_ERROR(source_.Read(id, out));
  const LowRank* update = Update(id);
  if (update == nullptr) return OkStatus();
  const auto [outputs, inputs] = Shape(id.weight);
  AddLowRank({update->a.data(), update->rank, inputs}, {update->b.data(), update->rank, outputs},
             {out.data(), outputs, inputs});
  return OkStatus();
}

std::optional<WeightBlocks> AdaptedWeights::ReadBlocks(WeightId id) const {
  return IsUpdated(id) ? std::nullopt : source_.ReadBlocks(id);
}

}  // namespace msa
