// Finds tokens that are recognised as written before any splitting: <|im_start|>, <think>.
#pragma once

#include <bitset>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/text/string_table.h"
#include "msa/text/tokenizer.h"

namespace msa {

struct AddedToken {
  std::string content;
  TokenId id;
  bool special;  // ends or begins something; only recognised where EncodeOptions::parse_special
};

class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Match {
    size_t begin;
    size_t end;
    TokenId id;
  };
  // The first one at or behind `from`, the longest if several begin there. As in Hugging Face's
  // library, special tokens that are not asked for still hide what they contain or overlap.
  std::optional<Match> Find(std::string_view text, size_t from, bool special) const;

 private:
  const AddedToken* LongestAt(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  StringTable contents_;         // by index into tokens_
  std::vector<size_t> lengths_;  // that occur, descending
  std::bitset<256> first_byte_;
};

}  // namespace msa
