// A folder is what its catalog says: files that it does not name, and bytes beyond the lengths that
// it gives, do not exist. These make it so, after a writer or a copy that was stopped.
#pragma once

#include <span>
#include <string>

#include "msa/bank/catalog.h"
#include "msa/bank/layout.h"
#include "msa/base/file.h"
#include "msa/base/function_ref.h"
#include "msa/base/status.h"

namespace msa {

// Gives the files that `rows` do not name to `remove`, and cuts the others at their lengths.
// kDataLoss names one that is shorter.
Status KeepCommitted(FileSystem& fs, const BankLayout& layout,
                     std::span<const Catalog::FileRow> rows,
                     FunctionRef<Status(const std::string& path)> remove);

// Zeros over all of a file, synced: what it held is to be nowhere once it is removed.
Status OverwriteFile(FileSystem& fs, const std::string& path);
// Zeros over a part of it, not synced.
Status ZeroRange(File& file, int64_t begin, int64_t bytes);

}  // namespace msa
