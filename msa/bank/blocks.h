// Checksums of fixed blocks, so that a part of a large file can be verified alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "msa/base/hash.h"

namespace msa {

inline constexpr size_t kBlockBytes = 64 << 10;

// One checksum for each 64 KiB block of `data`; the last block may be shorter.
inline std::vector<uint64_t> BlockChecksums(std::span<const std::byte> data) {
  std::vector<uint64_t> checksums;
  for (size_t begin = 0; begin < data.size(); begin += kBlockBytes) {
    checksums.push_back(
        Checksum64(data.subspan(begin, std::min(kBlockBytes, data.size() - begin))));
  }
  return checksums;
}

}  // namespace msa
