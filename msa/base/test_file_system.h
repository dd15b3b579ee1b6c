// For tests of any folder: the system's files, of which a test changes what it is about.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "msa/base/file.h"

namespace msa {

class TestFile : public File {
 public:
  explicit TestFile(std::unique_ptr<File> base) : base_(std::move(base)) {}

  Status ReadAt(int64_t offset, std::span<std::byte> out) const override {
    return base_->ReadAt(offset, out);
  }
  Status WriteAt(int64_t offset, std::span<const std::byte> data) override {
    return base_->WriteAt(offset, data);
  }
  Status Truncate(int64_t size) override { return base_->Truncate(size); }
  Status Sync() override { return base_->Sync(); }
  Result<int64_t> Size() const override { return base_->Size(); }
  Status Close() override { return base_->Close(); }

 private:
  const std::unique_ptr<File> base_;
};

class TestFileSystem : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    return base_.Open(path, mode);
  }
  Status Remove(const std::string& path) override { return base_.Remove(path); }
  Status Rename(const std::string& from, const std::string& to) override {
    return base_.Rename(from, to);
  }
  Status MakeDirectory(const std::string& path) override { return base_.MakeDirectory(path); }
  Status SyncDirectory(const std::string& path) override { return base_.SyncDirectory(path); }
  Result<std::vector<std::string>> List(const std::string& path) override {
    return base_.List(path);
  }
  bool Exists(const std::string& path) override { return base_.Exists(path); }

 private:
  FileSystem& base_ = PosixFileSystem();
};

}  // namespace msa
