// For tests of any folder: files and folders of one's own.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "msa/base/check.h"

namespace msa {

// An empty folder that goes when the object does.
class TestFolder {
 public:
  TestFolder() : path_((std::filesystem::temp_directory_path() / "msa_test_XXXXXX").string()) {
    MSA_CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return path_ + "/" + std::string(name); }

  // Writes `content` and returns the file's path.
  std::string Write(std::string_view name, std::string_view content) const {
    std::ofstream out(File(name), std::ios::binary | std::ios::trunc);
    out << content;
    MSA_CHECK(out.flush().good());
    return File(name);
  }

 private:
  std::string path_;
};

// A read-only file that is only in memory: tests that open thousands of damaged files would wait
// for a disk.
class TestMemoryFile {
 public:
  explicit TestMemoryFile(std::string_view content) : fd_(::memfd_create("msa_test", MFD_CLOEXEC)) {
    MSA_CHECK(fd_ >= 0);
    const auto size = static_cast<ssize_t>(content.size());
    MSA_CHECK(::write(fd_, content.data(), content.size()) == size);
  }
  ~TestMemoryFile() { ::close(fd_); }
  TestMemoryFile(const TestMemoryFile&) = delete;
  TestMemoryFile& operator=(const TestMemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace msa
