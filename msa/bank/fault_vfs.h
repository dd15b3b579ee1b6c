// SQLite's files as files of a FileSystem, so that writes and syncs of both have one numbering.
#pragma once

#include <sqlite3.h>

#include <functional>
#include <memory>
#include <string>

#include "msa/base/file.h"

namespace msa {

// An SQLite VFS, registered under a name of its own while the object lives: the default one, whose
// databases, WALs and journals are written, cut, synced and removed through `fs`. Shared memory and
// temporary files are not.
class FaultVfs {
 public:
  // `wrap` makes a file of `fs` of one that SQLite opens.
  using Wrap = std::function<std::unique_ptr<File>(std::string path, std::unique_ptr<File> base,
                                                   bool is_new)>;

  FaultVfs(FileSystem& fs, Wrap wrap);
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;
  ~FaultVfs();  // REQUIRES: no database of it is open

  const char* name() const { return name_.c_str(); }

 private:
  static int OpenFile(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                      int* out_flags);
  static int Delete(sqlite3_vfs* vfs, const char* path, int sync_folder);

  FileSystem& fs_;
  const Wrap wrap_;
  const std::string name_;
  sqlite3_vfs vfs_;
};

}  // namespace msa
