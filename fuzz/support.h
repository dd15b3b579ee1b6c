// What the fuzzers share. Each one is `LLVMFuzzerTestOneInput` over one reader of bytes that come
// from disk; a crash, an input that takes too long, and an allocation that the input does not
// justify are findings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "msa/base/file.h"
#include "msa/base/test_support.h"

namespace msa::fuzz {

inline std::span<const std::byte> Bytes(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}
inline std::string_view Chars(const uint8_t* data, size_t size) {
  return AsChars(Bytes(data, size));
}

// Says that a value was asked for only to see that asking ends.
template <class T>
void Ignore(const T&) {}

// While it lives, no single allocation of this thread may exceed 32 times the input and 4 MiB: a
// JSON value of two characters takes 16 bytes, in a vector that doubles; SQLite takes 20 of its
// largest pages at once. A larger one ends the program.
class AllocationLimit {
 public:
  static constexpr size_t kFixedBytes = size_t{4} << 20;
  // Of a database instead: SQLite keeps 8 bytes for each page that a record says it fills, which
  // may say 2^32 bytes, in pages of 4096 less what is reserved in each.
  static constexpr size_t kDatabaseBytes = size_t{16} << 20;

  explicit AllocationLimit(size_t input_bytes, size_t fixed_bytes = kFixedBytes);
  ~AllocationLimit();
};

// A file of the given bytes, borrowed, that cannot be written.
class BorrowedFile final : public File {
 public:
  explicit BorrowedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Status ReadAt(int64_t offset, std::span<std::byte> out) const override;
  Status WriteAt(int64_t, std::span<const std::byte>) override;
  Status Truncate(int64_t) override;
  Status Sync() override { return OkStatus(); }
  Result<int64_t> Size() const override { return static_cast<int64_t>(bytes_.size()); }
  Status Close() override { return OkStatus(); }

 private:
  std::span<const std::byte> bytes_;
};

// A copy of a golden bank, in a folder that goes with the object.
class GoldenBank {
 public:
  enum class Kind { kPlain, kEncrypted };
  // Encrypted banks of this process have their keys where this one has them.
  explicit GoldenBank(Kind kind = Kind::kPlain);

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  void Replace(std::string_view name, std::string_view content) const;
  // Does all that readers do: every document, passage, latent and revision, search, audit.
  void ReadEverything() const;
  // Makes bank and keys what they were at first.
  void Renew() const;

 private:
  const std::string name_;
  const TestFolder folder_;
  const std::string path_;
};

}  // namespace msa::fuzz
