// Erasing documents: from the commit of the intent, after which nothing answers with them, to the
// commit that says that no byte of them is left. Each step may run twice, and whichever writer
// comes next goes on where one stopped. docs/bank-format.md, "Erasing", has the steps and their
// order.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/chain.h"
#include "msa/bank/revision_writer.h"
#include "msa/bank/write_transaction.h"

namespace msa {

class Erasure {
 public:
  Erasure(WriteTransaction& transaction, RevisionWriter& revision,
          ProgressMode progress = ProgressMode::kOff)
      : transaction_(transaction), revision_(revision), progress_(progress) {}

  // Commits the intent. REQUIRES: nothing waits for a commit; `documents` exist.
  Status Intend(std::span<const DocId> documents, std::string_view message);
  // Does what is left to do; the report says for whom the end has to wait. No cost if nothing is
  // under way.
  Result<EraseReport> Proceed();

 private:
  // Rows of `versions` that are to go, with where their bytes lie.
  Result<std::vector<VersionRow>> FindDoomed();
  // What can still be read of them, by version, if it is little enough to be kept: it spares
  // indexing the text of all others.
  using Contents = std::map<VersionId, DocumentContent>;
  Contents ReadDoomed(std::span<const VersionRow> versions);
  Status ZeroRuns(std::span<const VersionRow> versions);
  Status DeleteRows(std::span<const VersionRow> versions, const Contents& contents);
  Status EraseFromShard(const Catalog::ShardRow& shard, std::span<const VersionRow> versions,
                        const Contents& contents);
  Status RewriteSegment(const Catalog::FileRow& file, std::span<const VersionRow> versions);
  Status DestroyKeys(std::span<const RandomNumber> documents);
  // Empty, or what holds the catalog's old pages.
  Result<std::string> CleanCatalog();
  Status Finish();

  WriteTransaction& transaction_;
  RevisionWriter& revision_;
  const ProgressMode progress_;
};

}  // namespace msa
