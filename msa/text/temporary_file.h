// A file that goes with its object.
#pragma once

#include <string>
#include <string_view>

#include "msa/base/status.h"

namespace msa {

class TemporaryFile {
 public:
  // In the system's folder for temporary files, readable by this user alone.
  static Result<TemporaryFile> Create(std::string_view content);
  TemporaryFile(TemporaryFile&& other) noexcept;
  TemporaryFile& operator=(TemporaryFile&& other) noexcept;
  ~TemporaryFile();

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace msa
