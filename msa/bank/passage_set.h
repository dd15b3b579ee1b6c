// A set of passages as a bitmap: what a revision, or a revision and a filter, may see.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "msa/base/ids.h"

namespace msa {

class PassageSet {
 public:
  // Adds passages [first, first + count).
  void AddRange(int64_t first, int64_t count) {
    if (count <= 0) return;
    const int64_t end = first + count;
    if (words_.size() * 64 < static_cast<size_t>(end)) words_.resize((end + 63) / 64);
    for (int64_t p = first; p < end; ++p) words_[p / 64] |= uint64_t{1} << (p % 64);
    size_ += count;
  }

  bool Contains(int64_t passage) const {
    const auto word = static_cast<size_t>(passage) / 64;
    return word < words_.size() && ((words_[word] >> (passage % 64)) & 1) != 0;
  }

  // Members in [first, end).
  int64_t CountRange(int64_t first, int64_t end) const {
    int64_t count = 0;
    first = std::max<int64_t>(first, 0);
    end = std::min(end, static_cast<int64_t>(words_.size()) * 64);
    for (int64_t p = first; p < end;) {
      if (p % 64 == 0 && p + 64 <= end) {
        count += std::popcount(words_[p / 64]);
        p += 64;
      } else {
        count += Contains(p) ? 1 : 0;
        ++p;
      }
    }
    return count;
  }

  // Ascending.
  std::vector<PassageId> Members() const {
    std::vector<PassageId> members;
    for (size_t word = 0; word < words_.size(); ++word) {
      for (uint64_t rest = words_[word]; rest != 0; rest &= rest - 1) {
        members.push_back(PassageId{static_cast<int64_t>(64 * word) + std::countr_zero(rest)});
      }
    }
    return members;
  }

  // Bit p % 8 of byte p / 8: passages[p] is a member. That is what routing takes with a run of keys
  // (kernels/route.h). `passages` ascend; where they have no gaps it costs a word for 64 of them.
  std::vector<uint8_t> BitsOf(std::span<const PassageId> passages) const {
    std::vector<uint8_t> bits((passages.size() + 7) / 8);
    for (size_t p = 0; p < passages.size();) {
      if (p % 8 == 0 && p + 64 <= passages.size() &&
          passages[p + 63].value - passages[p].value == 63) {
        const uint64_t word = WordFrom(passages[p].value);
        for (size_t byte = 0; byte < 8; ++byte) {
          bits[p / 8 + byte] = static_cast<uint8_t>(word >> (8 * byte));
        }
        p += 64;
      } else {
        if (Contains(passages[p].value)) bits[p / 8] |= static_cast<uint8_t>(1u << (p % 8));
        ++p;
      }
    }
    return bits;
  }

  int64_t size_bytes() const { return static_cast<int64_t>(words_.size() * sizeof(uint64_t)); }

  // Passages added; ranges never overlap.
  int64_t size() const { return size_; }

 private:
  // Bit i: passage + i is a member.
  uint64_t WordFrom(int64_t passage) const {
    const auto word = static_cast<size_t>(passage) / 64;
    const int shift = static_cast<int>(passage % 64);
    const auto at = [&](size_t i) { return i < words_.size() ? words_[i] : 0; };
    return shift == 0 ? at(word) : (at(word) >> shift) | (at(word + 1) << (64 - shift));
  }

  std::vector<uint64_t> words_;
  int64_t size_ = 0;
};

// What a revision, or a revision and a filter, may see.
struct VisiblePassages {
  PassageSet kept;         // the heads rank within these
  int64_t num_unkept = 0;  // whose text is not kept: no head finds them
};

}  // namespace msa
