// Files as the bank needs them: positioned reads, appends, explicit syncs, mappings. Everything
// durable goes through FileSystem, so that tests can count and fail each write and sync.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/status.h"

namespace msa {

// An open file. Not thread-safe for writes; positioned reads may run concurrently.
class File {
 public:
  virtual ~File() = default;  // closes, ignoring errors: call Close() first where they matter

  // Reads exactly `out.size()` bytes at `offset`; kDataLoss if the file ends before.
  virtual Status ReadAt(int64_t offset_bytes, std::span<std::byte> out) const = 0;
  // Writes all of `data` at `offset`, growing the file as needed. Not durable before Sync().
  virtual Status WriteAt(int64_t offset_bytes, std::span<const std::byte> data) = 0;
  virtual Status Truncate(int64_t size_bytes) = 0;
  virtual Status Sync() = 0;
  virtual Result<int64_t> Size() const = 0;
  virtual Status Close() = 0;
};

enum class OpenMode {
  kRead,
  kReadWrite,
  kCreate
};  // kCreate: read-write, made if absent, kept if present

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  virtual Status Remove(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status MakeDirectory(const std::string& path) = 0;  // ok if it is there
  virtual Status SyncDirectory(const std::string& path) = 0;
  // Names (not paths) in a folder, ascending.
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  // The name of the SQLite VFS that opens databases among these files; null: SQLite's default.
  virtual const char* sqlite_vfs() const { return nullptr; }
};

// The operating system's files. One object for the process.
FileSystem& PosixFileSystem();

// A whole file mapped read-only; valid while the object lives. An empty file maps to an empty span.
// The caller checks lengths first: a file truncated under the mapping raises SIGBUS.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

// "bank" of "bank//": a folder's path that its parent and its neighbours can be told from.
std::string_view WithoutSlashesAtEnd(std::string_view path);
// Syncs the folder that holds a file or folder, so that its name is durable. `path` may end in
// slashes.
Status SyncNameOf(FileSystem& fs, std::string_view path);

// Makes `out` the bytes [offset, offset + length). kDataLoss, with nothing allocated, where the
// file ends before: a length may come from a damaged record.
Status ReadRange(const File& file, int64_t offset, int64_t length, std::vector<std::byte>* out);
// Whole small files. ReadFile refuses files above `limit_bytes` with kResourceExhausted.
Result<std::string> ReadFile(const std::string& path, int64_t limit_bytes = int64_t{1} << 32);
// Writes, syncs, renames into place and syncs the folder: readers see the old or the new content.
Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view content);

inline std::span<const std::byte> AsBytes(std::string_view s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}
inline std::string_view AsChars(std::span<const std::byte> b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

}  // namespace msa
