// A set of passages as a bitmap: what a revision, or a revision and a filter, may see.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
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

  // Passages added; ranges never overlap.
  int64_t size() const { return size_; }

 private:
  std::vector<uint64_t> words_;
  int64_t size_ = 0;
};

}  // namespace msa
