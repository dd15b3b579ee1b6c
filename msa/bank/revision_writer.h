// The revision in the making: what it will see, its row, and its entry in the chain.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/write_transaction.h"

namespace msa {

class RevisionWriter {
 public:
  // `author` empty: the name of the user who runs the program.
  RevisionWriter(WriteTransaction& transaction, std::string author);

  // Opens the transaction and finds out what the current revision sees, once for each revision.
  // From then on the catalog's path is that of the revision in the making.
  Status Begin();
  // Begins anew next time; what a revision sees was changed behind it. REQUIRES: nothing was
  // written.
  void Forget() { id_ = 0; }
  bool begun() const { return id_ != 0; }
  int64_t id() const { return id_; }
  // Of its rows and chain entries: one reading of the clock a revision.
  int64_t unix_ms() const { return unix_ms_; }

  // Counts a version in or out of what the revision sees.
  void Include(const RevisionTotals& version) {
    totals_ += version;
    changed_bytes_ += version.text_bytes;
  }
  void Exclude(const RevisionTotals& version) {
    totals_ -= version;
    changed_bytes_ += version.text_bytes;
  }

  // Writes the row and the chain entry, and makes the revision the bank's. REQUIRES: begun().
  Status Finish(RevisionKind kind, std::string_view message);
  // A revision whose parent is `target`: it sees what `target` saw. One row, whatever the bank's
  // size. kNotFound if there is no such revision. REQUIRES: nothing was written since the last one.
  Status Revert(int64_t target, std::string_view message);

 private:
  Status Insert(int64_t parent, int64_t run_begin, RevisionKind kind, std::string_view message);

  WriteTransaction& transaction_;
  const std::string author_;
  int64_t id_ = 0;
  int64_t unix_ms_ = 0;
  RevisionPath path_;
  RevisionTotals totals_;
  int64_t changed_bytes_ = 0;  // of text that comes or goes
};

}  // namespace msa
