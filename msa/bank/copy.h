// Copies a bank, as it is at one moment, into another folder, while a writer may go on. What
// backing up and restoring share.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "msa/bank/backup.h"
#include "msa/bank/catalog.h"
#include "msa/bank/core.h"
#include "msa/bank/file_runs.h"
#include "msa/bank/lock.h"

namespace msa {

// The order makes the result whole or nothing (docs/bank-format.md, "A backup"): the catalog is
// copied aside, then the files it names, up to the lengths it names; the transaction that puts the
// catalog in its place is the commit. A file that a writer removes meanwhile, or overwrites because
// documents are erased, makes us begin again with the newer catalog; what was copied stays.
class BankCopy {
 public:
  BankCopy(BankCore& from, const std::string& to, FileSystem& fs, const CopyOptions& options)
      : from_(from), to_{to}, fs_(fs), options_(options) {}

  // As BackupBank.
  Result<BackupReport> Run();

  // Whether a folder may hold a file of that name when a copy was interrupted in it.
  static bool MayLeave(std::string_view name);

 private:
  // What is known of a folder's files.
  struct Contents {
    std::map<FileId, Catalog::FileRow> files;
    FileRuns runs;  // of packs and tails
  };
  static Result<Contents> ReadContents(Catalog& catalog);

  // Locks the folder and finds out what it holds.
  Status OpenTarget();
  Status ReadHeld();
  // Copies the catalog aside.
  Status Stage();
  Status RemoveStaged();
  // kFailedPrecondition unless the staged catalog says what came after what is held.
  Status CheckContinues();
  Status CheckFileContinues(const Catalog::FileRow& held, const Catalog::FileRow& now) const;
  Status CopyFiles();
  Status CopyFile(const Catalog::FileRow& row);
  Status CopyWhole(const Catalog::FileRow& row);
  Status CheckWhole(const Catalog::FileRow& row);
  Status CopyRuns(const Catalog::FileRow& row);
  Status CheckCancelled() const;
  // True if what was copied may be of two moments: begin again.
  Result<bool> IsOutdated(const Status& copied);
  // Puts the staged catalog in place, and makes the folder what it says.
  Status Commit();
  Status CommitCatalog();

  BankCore& from_;
  const BankLayout to_;
  FileSystem& fs_;
  const CopyOptions& options_;

  LockRecord lock_;
  std::optional<CatalogState> before_;  // of the backup before; null: there is none
  Contents held_;                       // of that, and of what was copied since
  std::optional<Catalog> staged_;
  CatalogState state_;  // of the staged catalog
  Contents named_;      // by it
  BackupReport report_;
};

}  // namespace msa
