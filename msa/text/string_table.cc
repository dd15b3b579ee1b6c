#include "msa/text/string_table.h"

#include <bit>
#include <cstring>

namespace msa {
namespace {

uint64_t Hash(std::string_view s) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;
  uint64_t hash = s.size();
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  uint64_t word = 0;
  for (; s.size() >= sizeof(word); s.remove_prefix(sizeof(word))) {
    std::memcpy(&word, s.data(), sizeof(word));
    mix(word);
  }
  word = 0;
  std::memcpy(&word, s.data(), s.size());
  mix(word);
  return hash * kMultiplier;
}

}  // namespace

StringTable::StringTable(std::span<const std::string> strings) {
  size_t total = 0;
  for (const std::string& s : strings) total += s.size();
  chars_.reserve(total);
  begin_.reserve(strings.size() + 1);
  slots_.resize(std::bit_ceil(2 * strings.size() + 2));
  for (const std::string& s : strings) {
    const int32_t number = size();
    chars_ += s;
    begin_.push_back(chars_.size());
    if (s.empty() || Find(s) >= 0) continue;
    const uint64_t hash = Hash(s);
    size_t slot = hash >> 32 & (slots_.size() - 1);
    while (slots_[slot].number >= 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = {static_cast<uint32_t>(hash), number};
  }
}

int32_t StringTable::Find(std::string_view s) const {
  if (slots_.empty()) return -1;
  const uint64_t hash = Hash(s);
  for (size_t slot = hash >> 32 & (slots_.size() - 1); slots_[slot].number >= 0;
       slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot].tag == static_cast<uint32_t>(hash) && (*this)[slots_[slot].number] == s) {
      return slots_[slot].number;
    }
  }
  return -1;
}

}  // namespace msa
