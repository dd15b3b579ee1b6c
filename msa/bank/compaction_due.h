// When to look whether a compaction pays. Looking reads the rows of all versions, so it is done
// once enough has changed since the last time, and once a day for what expires by itself. The
// setting "compaction" keeps count.
#pragma once

#include <cstdint>

#include "msa/bank/catalog.h"

namespace msa {

// A look is due when text that came or went since the last one is 1/16 of what the latest revision
// sees: at most that share can have died unseen, and a version that is added or removed costs 16
// rows of versions to look at, some 10 us (0.5 us a row), beside 100 us to add it.
inline constexpr int64_t kChangesPerLook = 16;

// Counts text that came or went. REQUIRES: a transaction is open.
Status NoteChange(Catalog& catalog, int64_t text_bytes);
// As much as a change of everything: somebody went back, or erased.
Status NoteLargeChange(Catalog& catalog);
// `text_bytes`: what the latest revision sees.
Result<bool> IsLookDue(Catalog& catalog, int64_t text_bytes, int64_t unix_ms);
// Begins to count anew. REQUIRES: a transaction is open.
Status NoteLook(Catalog& catalog, int64_t unix_ms);

}  // namespace msa
