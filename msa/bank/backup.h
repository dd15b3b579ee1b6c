// Backups of a bank, and the way back. A backup is itself a bank in a folder: it opens, answers and
// passes an audit.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/file.h"
#include "msa/base/ids.h"
#include "msa/base/progress.h"
#include "msa/base/status.h"

namespace msa {

struct CopyOptions {
  ProgressMode progress = ProgressMode::kOff;
  const std::atomic<bool>* cancelled = nullptr;  // polled
};

struct BackupReport {
  RevisionId revision;       // of the bank when it was copied
  int64_t copied_bytes = 0;  // of packs, segments, tails and lexical shards
  int64_t kept_bytes = 0;    // of those that were there from a backup before
};

// Copies the bank at `bank`, as it is at one moment, into `folder`: a new or empty one, or one that
// holds an earlier backup of this bank, of which only what is new or changed is then copied. What
// was erased from the bank since goes from the backup too. Writers of the bank go on meanwhile.
//
// Until it returns, `folder` holds the backup before, or, if there was none, no bank. What was
// interrupted goes on when it is called again. Every byte is verified when it is copied, not again
// later: that is what an audit of the backup does.
//
// kAlreadyExists: the folder holds something else. kFailedPrecondition: it holds a bank whose
// history this one does not continue, for example because this is the older one of the two.
// kUnavailable: somebody writes to the backup. kDataLoss: the bank is damaged.
Result<BackupReport> BackupBank(const std::string& bank, const std::string& folder,
                                const CopyOptions& options = {},
                                FileSystem& fs = PosixFileSystem());

struct RestoreOptions : CopyOptions {
  // Banks that go back to the same one as the backup (the one to be replaced, however damaged), and
  // certificates of erasure: what these say was erased does not come back.
  std::vector<std::string> current;
  bool readmit = false;  // it comes back all the same
  std::string author;    // of the revision that erases; empty: the name of the user
};

struct RestoreReport {
  RevisionId revision;  // of the restored bank
  int64_t documents = 0;
  int64_t copied_bytes = 0;
  std::vector<std::string> erased;      // numbers in the chain of documents erased again, hex
  std::vector<std::string> readmitted;  // keys of those that came back because they were readmitted
};

// Makes a bank at `bank`, where nothing may be, from a backup: copies it, audits the copy and
// erases what was erased since. Appears as a whole or not at all; is made in "BANK.restoring"
// beside it. kAlreadyExists: something is there. kDataLoss: the backup is damaged.
Result<RestoreReport> RestoreBank(const std::string& backup, const std::string& bank,
                                  const RestoreOptions& options = {},
                                  FileSystem& fs = PosixFileSystem());

}  // namespace msa
