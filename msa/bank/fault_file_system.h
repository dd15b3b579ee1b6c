// A file system that stops at a chosen write or sync and then forgets what was never synced, as a
// machine does that loses power. SQLite's files pass through it like all others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msa/bank/fault_vfs.h"
#include "msa/base/file.h"

namespace msa {

class FaultFileSystem final : public FileSystem {
 public:
  // Which files keep what was written to them and not synced, when power goes: a disk may have
  // written any of it. Null: none does.
  using KeepsUnsynced = std::function<bool(const std::string& path)>;

  // Operation number `fail_at` (from 0) and all later ones fail; if it is a write, half of it is
  // done.
  explicit FaultFileSystem(int64_t fail_at)
      : vfs_(*this, [this](std::string path, std::unique_ptr<File> base,
                           bool is_new) { return Wrap(std::move(path), std::move(base), is_new); }),
        fail_at_(fail_at) {}

  // Writes, truncations, syncs, renames, removals and new folders so far.
  int64_t operations() const { return operations_; }
  bool failed() const { return operations_ > fail_at_; }
  // Power goes now, not at an operation chosen before: all later ones fail.
  void Stop() { fail_at_ = std::min(fail_at_, operations_ - 1); }

  // Calls this within each operation, when all before it are done, and half of it if it is a write.
  void SetObserver(std::function<void()> observer) { observer_ = std::move(observer); }

  // Brings every file back to what was synced last, unless it keeps the rest. Of new names whose
  // folder was not synced, likewise: files and folders are gone, what a file replaced is back, and
  // a renamed folder has its name of before. REQUIRES: none is open.
  void LosePower(const KeepsUnsynced& keeps = nullptr);
  // Makes `copy` what the folder `root` would be after that.
  void CopyAfterPowerLoss(const std::string& root, const std::string& copy,
                          const KeepsUnsynced& keeps = nullptr) const;

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status MakeDirectory(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  bool Exists(const std::string& path) override;
  const char* sqlite_vfs() const override { return vfs_.name(); }

 private:
  friend class FaultFile;
  // What a change of a file replaced.
  struct Change {
    int64_t offset;
    std::vector<std::byte> bytes;
    int64_t file_bytes;  // before it
  };

  std::unique_ptr<File> Wrap(std::string path, std::unique_ptr<File> base, bool is_new);
  // Counts an operation; an error from fail_at_ on.
  Status Count(const std::string& what);
  // Keeps what bytes [offset, offset + count) of a file are before they change.
  Status Remember(const std::string& path, const File& file, int64_t offset, int64_t count);
  static void Undo(const std::vector<Change>& changes, const std::string& path);
  Status RenameFolder(const std::string& from, const std::string& to);
  // That a file has no name any more, or has another one.
  void ForgetName(const std::string& path);
  // What was in a folder that is gone, which may have been removed without this object.
  void ForgetBelow(const std::string& folder);
  // What is in a folder is in another.
  void MoveBelow(const std::string& from, const std::string& to);
  // What LosePower does, to files that lie in `copy` instead of in `root`.
  void Lose(const std::string& root, const std::string& copy, const KeepsUnsynced& keeps) const;

  FileSystem& base_ = PosixFileSystem();
  const FaultVfs vfs_;
  int64_t fail_at_;
  int64_t operations_ = 0;
  std::function<void()> observer_;
  std::map<std::string, std::vector<Change>> unsynced_;  // by path, oldest first
  // New files and folders whose folder was not synced, and what was in the file they replaced.
  std::map<std::string, std::optional<std::string>> unsynced_names_;
  std::map<std::string, std::string> renamed_;  // folders, likewise: by path, the one before
};

}  // namespace msa
