// A pack or tail that grows: header first, then whatever is appended. What was appended is durable
// after Sync, and exists once a catalog transaction records the new length.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "msa/bank/layout.h"
#include "msa/base/file.h"
#include "msa/base/status.h"

namespace msa {

class AppendFile {
 public:
  // A new file with its header. The caller syncs the folder before its commit.
  static Result<AppendFile> Create(FileSystem& fs, const BankLayout& layout, FileKind kind,
                                   const BankId& bank, FileId id);
  // Goes on at `length`, a committed length.
  static Result<AppendFile> Open(FileSystem& fs, const BankLayout& layout, FileKind kind, FileId id,
                                 int64_t length);

  FileId id() const { return id_; }
  int64_t length() const { return length_; }

  // Returns where `data` begins.
  Result<int64_t> Append(std::span<const std::byte> data);
  // No cost if nothing was appended since the last one.
  Status Sync();

 private:
  AppendFile(std::unique_ptr<File> file, FileId id, int64_t length)
      : file_(std::move(file)), id_(id), length_(length) {}

  std::unique_ptr<File> file_;
  FileId id_;
  int64_t length_;
  bool dirty_ = false;
};

}  // namespace msa
