// The row of `settings` that stands from the intent of an erasure to its end: what tells the next
// writer to go on.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "msa/bank/catalog.h"
#include "msa/bank/chain.h"

namespace msa {

// The documents of an erasure that is under way, by number; nullopt: none is.
Result<std::optional<std::vector<RandomNumber>>> ReadPendingErasure(Catalog& catalog);
Status WritePendingErasure(Catalog& catalog, const std::vector<RandomNumber>& numbers);
Status RemovePendingErasure(Catalog& catalog);
// Ids of versions that an erasure under way removes: their bytes may be overwritten already, though
// their rows are there.
Result<std::set<int64_t>> ReadDoomedVersions(Catalog& catalog);

}  // namespace msa
