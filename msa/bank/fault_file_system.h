// A file system that stops at a chosen write or sync and then forgets what was never synced, as a
// machine does that loses power. SQLite's own files do not pass through it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "msa/base/file.h"

namespace msa {

class FaultFileSystem final : public FileSystem {
 public:
  // Operation number `fail_at` (from 0) and all later ones fail; a failing write has written half.
  explicit FaultFileSystem(int64_t fail_at) : fail_at_(fail_at) {}

  // Writes, truncations, syncs, renames, removals and new folders so far.
  int64_t operations() const { return operations_; }
  bool failed() const { return operations_ > fail_at_; }

  // Brings every file back to what was synced last, and removes new files whose folder was not.
  void LosePower();

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status MakeDirectory(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  bool Exists(const std::string& path) override;

 private:
  friend class FaultFile;
  // Counts an operation; an error from fail_at_ on.
  Status Count(const std::string& what);
  // Keeps the content of `path` before its first unsynced change.
  void Remember(const std::string& path);

  FileSystem& base_ = PosixFileSystem();
  const int64_t fail_at_;
  int64_t operations_ = 0;
  std::map<std::string, std::string> synced_;  // by path, of files with unsynced changes
  std::set<std::string> unsynced_names_;       // new files whose folder was not synced
};

}  // namespace msa
