// Compaction: what a bank's retention no longer keeps is dropped, and files with many dead bytes
// are written anew without them. docs/bank-format.md, "Compacting", has the steps and their order.
// Frames and tail blocks are copied as they are; a damaged one stays what it was.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/space_use.h"
#include "msa/bank/write_transaction.h"

namespace msa {

class Compaction {
 public:
  // Segments are written up to `seal_bytes`. `ahead_ms` is added to the clock that says what is
  // kept: tests let time pass by it.
  Compaction(WriteTransaction& transaction, int64_t seal_bytes, int64_t ahead_ms)
      : transaction_(transaction), seal_bytes_(seal_bytes), ahead_ms_(ahead_ms) {}

  // True if enough has changed, or enough time gone by, to ask whether it pays.
  Result<bool> IsLookDue();

  // Whether Run would write files anew. Reads the rows of all versions and places. Leaves the
  // catalog's path unset. REQUIRES: a transaction is open.
  Result<bool> Look(const CompactionPolicy& policy);
  // Does what pays, in a commit for each part, after which its old files go. What fails is taken
  // back, unless it is the commit itself, after which the transaction has failed. REQUIRES: no
  // transaction, tail or pack is open, and no erasure waits. Leaves the catalog's path unset.
  Result<CompactReport> Run(const CompactionPolicy& policy,
                            ProgressMode progress = ProgressMode::kOff);

 private:
  using Files = std::span<const FileUse>;

  // Runs `rewrite` on as many files at a time as make `bytes` live ones, each in a commit. Of those
  // that fail with damage each is tried alone, and the damaged ones are left.
  Status InParts(Files files, int64_t bytes, Progress& progress,
                 FunctionRef<Status(Files)> rewrite);
  Status InOneCommit(Files files, FunctionRef<Status(Files)> rewrite);

  Status CompactLatents(const CompactionPolicy& policy, const Expired& expired);
  Status RewriteLatents(Files files, const Expired& expired);
  Status CompactPacks(const CompactionPolicy& policy, const Expired& expired);
  Status RewritePacks(Files packs, const Expired& expired);
  Status CompactShards(const CompactionPolicy& policy);
  Result<int64_t> TotalBytes();
  int64_t Now() const { return UnixMilliseconds() + ahead_ms_; }

  WriteTransaction& transaction_;
  const int64_t seal_bytes_;
  const int64_t ahead_ms_;
  ProgressMode progress_ = ProgressMode::kOff;
  CompactReport report_;
};

}  // namespace msa
