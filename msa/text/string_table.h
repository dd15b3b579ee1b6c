// Strings by number and numbers by string, in three allocations whatever their count.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace msa {

class StringTable {
 public:
  StringTable() = default;
  // String i gets number i. An empty string is never found; of equal ones the first is.
  explicit StringTable(std::span<const std::string> strings);

  int32_t size() const { return static_cast<int32_t>(begin_.size()) - 1; }
  // REQUIRES: 0 <= i < size().
  std::string_view operator[](int32_t i) const {
    const auto at = static_cast<size_t>(i);
    return std::string_view(chars_).substr(begin_[at], begin_[at + 1] - begin_[at]);
  }
  // -1 if there is none.
  int32_t Find(std::string_view s) const;

 private:
  struct Slot {
    uint32_t tag = 0;     // more bits of the hash, so that most misses read no string
    int32_t number = -1;  // -1: free
  };

  std::string chars_;
  std::vector<size_t> begin_ = {0};
  std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace msa
