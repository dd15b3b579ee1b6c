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

// Needs memory by its members, not by how large their ids are: blocks without members are not
// stored.
class PassageSet {
 public:
  // Adds passages [first, first + count). REQUIRES: first >= 0; first + count is no overflow.
  void AddRange(int64_t first, int64_t count) {
    if (count <= 0) return;
    for (int64_t p = first; p < first + count;) {
      const int64_t next = std::min(first + count, (p / 64 + 1) * 64);
      *FindOrAddWord(Index(p)) |= WordBits(p, next);
      p = next;
    }
    size_ += count;
  }

  bool Contains(int64_t passage) const { return ((Word(Index(passage)) >> Bit(passage)) & 1) != 0; }

  // Members in [first, end).
  int64_t CountRange(int64_t first, int64_t end) const {
    int64_t count = 0;
    first = std::max<int64_t>(first, 0);
    for (auto block = std::ranges::lower_bound(blocks_, Index(first) / kBlockWords);
         block != blocks_.end(); ++block) {
      const auto begin = static_cast<int64_t>(*block) * kBlockPassages;
      const int64_t stop = std::min(end, begin + kBlockPassages);
      for (int64_t p = std::max(first, begin); p < stop;) {
        const int64_t next = std::min(stop, (p / 64 + 1) * 64);
        count += std::popcount(Word(Index(p)) & WordBits(p, next));
        p = next;
      }
      if (stop == end) break;
    }
    return count;
  }

  // Ascending.
  std::vector<PassageId> Members() const {
    std::vector<PassageId> members;
    for (size_t word = 0; word < words_.size(); ++word) {
      const uint64_t index = blocks_[word / kBlockWords] * kBlockWords + word % kBlockWords;
      for (uint64_t rest = words_[word]; rest != 0; rest &= rest - 1) {
        members.push_back(PassageId{static_cast<int64_t>(64 * index) + std::countr_zero(rest)});
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

  int64_t size_bytes() const {
    return static_cast<int64_t>((words_.size() + blocks_.size()) * sizeof(uint64_t));
  }

  // Passages added; ranges never overlap.
  int64_t size() const { return size_; }

 private:
  static constexpr size_t kBlockWords = 512;
  static constexpr int64_t kBlockPassages = 64 * kBlockWords;

  // Of a damaged row's negative passages too, which no block holds.
  static uint64_t Index(int64_t passage) { return static_cast<uint64_t>(passage) / 64; }
  static uint64_t Bit(int64_t passage) { return static_cast<uint64_t>(passage) % 64; }
  // Bits of [p, next), which lie in one word.
  static uint64_t WordBits(int64_t p, int64_t next) {
    return (~uint64_t{0} >> (64 - (next - p))) << Bit(p);
  }

  uint64_t Word(uint64_t index) const {
    const uint64_t number = index / kBlockWords;
    if (blocks_.empty() || number > blocks_.back()) return 0;
    size_t place = number;  // if none is missing before it
    if (place >= blocks_.size() || blocks_[place] != number) {
      const auto found = std::ranges::lower_bound(blocks_, number);
      if (*found != number) return 0;
      place = static_cast<size_t>(found - blocks_.begin());
    }
    return words_[place * kBlockWords + index % kBlockWords];
  }

  uint64_t* FindOrAddWord(uint64_t index) {
    const uint64_t number = index / kBlockWords;
    auto found = blocks_.end();
    if (!blocks_.empty() && number <= blocks_.back()) {
      found = std::ranges::lower_bound(blocks_, number);
    }
    const auto place = static_cast<size_t>(found - blocks_.begin());
    if (found == blocks_.end() || *found != number) {
      blocks_.insert(found, number);
      words_.insert(words_.begin() + static_cast<ptrdiff_t>(place * kBlockWords), kBlockWords, 0);
    }
    return &words_[place * kBlockWords + index % kBlockWords];
  }

  // Bit i: passage + i is a member.
  uint64_t WordFrom(int64_t passage) const {
    const uint64_t index = Index(passage);
    const uint64_t shift = Bit(passage);
    return shift == 0 ? Word(index) : (Word(index) >> shift) | (Word(index + 1) << (64 - shift));
  }

  std::vector<uint64_t> blocks_;  // numbers of those stored, ascending
  std::vector<uint64_t> words_;   // kBlockWords of each
  int64_t size_ = 0;
};

// What a revision, or a revision and a filter, may see.
struct VisiblePassages {
  PassageSet kept;         // the heads rank within these
  int64_t num_unkept = 0;  // whose text is not kept: no head finds them
};

}  // namespace msa
