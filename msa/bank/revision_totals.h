// What each revision sees in sum, computed from versions and deaths: the same numbers as the
// columns of the table revisions, which are kept up by addition.
#pragma once

#include <vector>

#include "msa/bank/catalog.h"

namespace msa {

// Of revision 1 on. Cost: one pass over versions, deaths and revisions.
Result<std::vector<RevisionTotals>> ComputeTotals(Catalog& catalog);

}  // namespace msa
