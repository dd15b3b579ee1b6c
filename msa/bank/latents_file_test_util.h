// For tests and fuzzers: exported latents with checksums that fit, whatever the file holds.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "msa/bank/bytes.h"
#include "msa/base/hash.h"
#include "msa/base/safetensors.h"
#include "msa/base/test_support.h"

namespace msa {

// Makes the checksums of docs/latents-format.md those of what `content` holds, as far as it has
// their tensors.
inline std::string SignLatents(std::string content) {
  const TestMemoryFile stored(content);
  const auto opened = SafetensorsFile::Open(stored.path());
  if (!opened.ok()) return content;
  const SafetensorsFile& file = **opened;
  const SafeTensor* keys = file.Find("r");
  const SafeTensor* latents = file.Find("kv");
  if (keys == nullptr || latents == nullptr) return content;

  ByteWriter encoding;
  for (const char* field : {"encoding", "config"}) {
    const auto found = file.metadata().find(field);
    encoding.PutField(found == file.metadata().end() ? "" : found->second);
  }
  if (keys->shape.size() == 2 && latents->shape.size() == 5) {
    for (const int64_t size :
         {keys->shape[1], latents->shape[1], latents->shape[3], latents->shape[4]}) {
      encoding.Put<int64_t>(size);
    }
  }
  const uint64_t checksum = Checksum64(encoding.bytes());
  const std::string hex = HexEncode(std::as_bytes(std::span(&checksum, 1)));
  constexpr std::string_view kField = "\"checksum\":\"";
  const size_t field = content.find(kField);
  if (field != content.npos && field + kField.size() + hex.size() <= content.size()) {
    content.replace(field + kField.size(), hex.size(), hex);
  }

  const SafeTensor* sums = file.Find("checksum");
  if (sums == nullptr) return content;
  const auto entry = [&](const char* name, size_t index, size_t size) {
    const SafeTensor* tensor = file.Find(name);
    const bool is_there = tensor != nullptr && (index + 1) * size <= tensor->bytes.size();
    return is_there ? tensor->bytes.subspan(index * size, size) : std::span<const std::byte>();
  };
  uint64_t row = 0;
  for (size_t i = 0; i < sums->bytes.size() / sizeof(uint64_t); ++i) {
    ByteWriter bytes;
    for (const char* name : {"document", "passage", "chunks", "chunk_tokens"}) {
      bytes.PutBytes(entry(name, i, sizeof(int64_t)));
    }
    bytes.PutBytes(entry("tokens_blake2b", i, sizeof(Digest)));
    const auto chunks_bytes = entry("chunks", i, sizeof(int64_t));
    uint64_t chunks = 0;
    if (!chunks_bytes.empty()) std::memcpy(&chunks, chunks_bytes.data(), sizeof(chunks));
    for (const char* name : {"r", "r_scale", "kv", "kv_scale"}) {
      const SafeTensor* tensor = file.Find(name);
      if (tensor == nullptr || tensor->shape.empty() || tensor->shape[0] == 0) continue;
      const auto rows = static_cast<uint64_t>(tensor->shape[0]);
      if (chunks > rows || row > rows - chunks) return content;
      const uint64_t row_bytes = tensor->bytes.size() / rows;
      bytes.PutBytes(tensor->bytes.subspan(row * row_bytes, chunks * row_bytes));
    }
    row += chunks;
    const uint64_t sum = Checksum64(bytes.bytes());
    const auto at = sums->bytes.data() - file.bytes().data();
    std::memcpy(content.data() + at + i * sizeof(sum), &sum, sizeof(sum));
  }
  return content;
}

}  // namespace msa
