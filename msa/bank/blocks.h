// Checksums of fixed blocks, so that any part of a large file can be verified alone, and is, once,
// when it is first read.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msa/base/status.h"

namespace msa {

inline constexpr size_t kBlockBytes = 64 << 10;

inline constexpr size_t NumBlocks(size_t bytes) { return (bytes + kBlockBytes - 1) / kBlockBytes; }

// One checksum for each 64 KiB block of `data`; the last block may be shorter.
std::vector<uint64_t> BlockChecksums(std::span<const std::byte> data);

// The checksums that the catalog keeps as bytes.
std::vector<uint64_t> ParseBlocks(std::span<const std::byte> bytes);

// Borrowed bytes whose blocks have known checksums. Thread-safe.
class VerifiedBytes {
 public:
  VerifiedBytes() = default;
  // REQUIRES: as many checksums as blocks.
  VerifiedBytes(std::span<const std::byte> bytes, std::vector<uint64_t> checksums);

  std::span<const std::byte> bytes() const { return bytes_; }

  // Verifies the blocks that [offset, offset + size) touches, as far as they have not been.
  // REQUIRES: the range lies within bytes(). kDataLoss names the block.
  Status Verify(size_t offset, size_t size) const;

 private:
  std::span<const std::byte> bytes_;
  std::vector<uint64_t> checksums_;
  std::unique_ptr<std::atomic<bool>[]> verified_;  // by block
};

}  // namespace msa
