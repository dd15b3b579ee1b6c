#include "msa/bank/blocks.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "msa/base/check.h"
#include "msa/base/hash.h"

namespace msa {

std::vector<uint64_t> BlockChecksums(std::span<const std::byte> data) {
  std::vector<uint64_t> checksums;
  for (size_t begin = 0; begin < data.size(); begin += kBlockBytes) {
    checksums.push_back(
        Checksum64(data.subspan(begin, std::min(kBlockBytes, data.size() - begin))));
  }
  return checksums;
}

std::vector<uint64_t> ParseBlocks(std::span<const std::byte> bytes) {
  std::vector<uint64_t> checksums(bytes.size() / sizeof(uint64_t));
  if (!checksums.empty()) {
    std::memcpy(checksums.data(), bytes.data(), checksums.size() * sizeof(uint64_t));
  }
  return checksums;
}

VerifiedBytes::VerifiedBytes(std::span<const std::byte> bytes, std::vector<uint64_t> checksums)
    : bytes_(bytes),
      checksums_(std::move(checksums)),
      verified_(std::make_unique<std::atomic<bool>[]>(checksums_.size())) {
  MSA_CHECK(checksums_.size() == NumBlocks(bytes_.size()));
}

Status VerifiedBytes::Verify(size_t offset, size_t size) const {
  MSA_CHECK(offset <= bytes_.size() && size <= bytes_.size() - offset);
  if (size == 0) return OkStatus();
  const size_t last = (offset + size - 1) / kBlockBytes;
  for (size_t block = offset / kBlockBytes; block <= last; ++block) {
    // Two threads may both verify a block; neither reads it unverified.
    if (verified_[block].load(std::memory_order_relaxed)) continue;
    const size_t begin = block * kBlockBytes;
    const auto bytes = bytes_.subspan(begin, std::min(kBlockBytes, bytes_.size() - begin));
    if (Checksum64(bytes) != checksums_[block]) {
      return DataLoss("wrong checksum of the block at byte " + std::to_string(begin) + ", length " +
                      std::to_string(bytes.size()));
    }
    verified_[block].store(true, std::memory_order_relaxed);
  }
  return OkStatus();
}

}  // namespace msa
