// Reads the latents of passages from where the catalog says they lie, whatever kind of file that
// is.
#pragma once

#include <cstdint>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/core.h"
#include "msa/bank/latents.h"

namespace msa {

// Latents of passages [first, first + count) of `place`, counted from its first, checked against
// their checksums. `file` is the place's row of `files`. REQUIRES: the range lies in the place.
Result<LatentBlock> ReadPassageLatents(BankCore& core, const LatentLayout& layout,
                                       const LatentPlace& place, const Catalog::FileRow& file,
                                       int64_t first, int64_t count);

}  // namespace msa
