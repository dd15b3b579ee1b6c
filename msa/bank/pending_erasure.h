// The row of `settings` that stands from the intent of an erasure to its end: what tells the next
// writer to go on.
#pragma once

#include <optional>
#include <vector>

#include "msa/bank/catalog.h"
#include "msa/bank/chain.h"

namespace msa {

// The documents of an erasure that is under way, by number; nullopt: none is.
Result<std::optional<std::vector<RandomNumber>>> ReadPendingErasure(Catalog& catalog);
Status WritePendingErasure(Catalog& catalog, const std::vector<RandomNumber>& numbers);
Status RemovePendingErasure(Catalog& catalog);

}  // namespace msa
