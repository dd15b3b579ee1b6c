// Lines of a JSONL file, plain or compressed by zstd (also with --long=27), and the hash of the
// file, in one pass.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "msa/base/status.h"

namespace msa {

class RowReader {
 public:
  static Result<RowReader> Open(const std::string& path);
  RowReader(RowReader&&) noexcept;
  RowReader& operator=(RowReader&&) noexcept;
  ~RowReader();

  // The next line that is not blank, without its line end; false at the end of the file. Memory:
  // the longest line, at most 256 MB (kResourceExhausted above), and zstd's window.
  Result<bool> Next(std::string* line);

  int64_t number() const;      // of the line last read, from 1
  std::string place() const;   // likewise: "FILE, line 12"
  int64_t bytes_read() const;  // of the file, as stored
  // SHA-256 of the file as stored, in hex. REQUIRES: Next returned false.
  std::string Sha256Hex() const;

 private:
  class Impl;
  explicit RowReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace msa
