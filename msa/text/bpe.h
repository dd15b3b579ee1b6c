// Byte-pair encoding of one pre-token: the adjacent pair that was learned first is merged, the
// leftmost of equal ones, until none is left.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/text/string_table.h"
#include "msa/text/tokenizer.h"

namespace msa {

class Bpe {
 public:
  // `left` beside `right` becomes `merged`. Merges come in the order they were learned.
  struct Merge {
    TokenId left;
    TokenId right;
    TokenId merged;
  };

  // Buffers of one thread, kept between calls.
  struct Workspace {
    std::vector<TokenId> ids;
    std::vector<uint32_t> begin;  // of the symbol, in bytes into the pre-token
    std::vector<int32_t> rank;
    std::vector<uint32_t> next, previous;
    std::vector<uint64_t> heap;
  };

  // `token_bytes` by id; empty where a token is not of the merged vocabulary (special ones).
  // `whole_words`: a pre-token that is in the vocabulary is that token, whatever the merges say
  // (Hugging Face's ignore_merges). A byte without a token is left out, or becomes `unknown` if
  // that is not negative.
  Bpe(std::span<const std::string> token_bytes, std::span<const Merge> merges, bool whole_words,
      TokenId unknown);

  // Appends the tokens of `word` to `ids` and, unless null, `offset` + where each begins in it.
  // REQUIRES: word.size() < 2^32 - 1. Cost: a lookup if the word is one token, which most are; else
  // n log n.
  void Encode(std::string_view word, int64_t offset, Workspace* work, std::vector<TokenId>* ids,
              std::vector<int64_t>* begin) const;

 private:
  struct MergeSlot {
    uint64_t pair;  // left << 32 | right
    int32_t rank;
    TokenId merged;
  };

  const MergeSlot* FindMerge(TokenId left, TokenId right) const;
  int32_t Rank(TokenId left, TokenId right) const;
  void AddMerges(std::span<const Merge> merges);
  // The symbols of `word` merged as far as they go, in work->ids and work->begin.
  void MergeWord(std::string_view word, Workspace* work) const;
  void MergeShort(Workspace* work) const;
  void MergeLong(Workspace* work) const;

  std::vector<MergeSlot> merges_;  // a hash table, a power of two, at most half full
  TokenId byte_ids_[256] = {};     // -1: no token
  StringTable words_;              // byte strings that are one token
};

}  // namespace msa
