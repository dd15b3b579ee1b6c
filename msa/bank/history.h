// What the catalog tells of past revisions: the log, and how two of them differ.
#pragma once

#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/base/function_ref.h"

namespace msa {

// As Bank::Log. `state` is that of the catalog now. Cost: one pass over versions and deaths, which
// are held in memory (about 80 bytes each), and then what each revision changed.
Status ReadLog(Catalog& catalog, const CatalogState& state,
               FunctionRef<bool(const RevisionInfo&)> on_revision);

// As Bank::Diff. REQUIRES: both revisions exist.
Result<std::vector<DocumentChange>> DiffRevisions(Catalog& catalog, int64_t from, int64_t to);

// kNotFound unless 0 <= revision <= the newest one.
Status CheckRevision(const CatalogState& state, int64_t revision);

}  // namespace msa
