// What a bank keeps of versions that its latest revision no longer sees, as the setting "retention"
// says, and which versions those are.
#pragma once

#include <cstdint>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"

namespace msa {

// kDataLoss if the setting is missing or damaged.
Result<Retention> ReadRetention(Catalog& catalog);
// REQUIRES: a transaction is open; IsValid(retention).
Status WriteRetention(Catalog& catalog, const Retention& retention);
// No days below zero, but for a text that is kept for ever, nor beyond what a clock can count.
bool IsValid(const Retention& retention);

// The versions, ascending, that some revision sees which was the latest at `unix_ms` or later, and
// all that came since. Leaves the catalog's path unset.
Result<std::vector<int64_t>> VersionsSeen(Catalog& catalog, const BankId& bank, int64_t unix_ms);

}  // namespace msa
