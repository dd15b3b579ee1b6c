// What kind of text a token is part of, so that losses can be told apart.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "msa/base/function_ref.h"

namespace msa {

enum class TokenKind {
  kName,           // a capitalised word that begins no sentence (and is not "I")
  kNumber,         // a word with a digit
  kRareWord,       // see WordCounts
  kCommonWord,     // the others
  kCode,           // punctuation, symbols, white space alone; words with _ or like camelCase
  kOtherLanguage,  // a word with a letter beyond ASCII
};
inline constexpr int kTokenKinds = 6;
inline constexpr std::array<std::string_view, kTokenKinds> kTokenKindNames = {
    "names", "numbers", "rare words", "common words", "code and punctuation", "other languages"};

// Words of letters, digits and _, with apostrophes and combining marks inside: byte spans of
// `text`, ascending.
void ForEachWord(std::string_view text, FunctionRef<void(size_t begin, size_t end)> on_word);

// How often words (in lower case, ASCII) stand in a corpus.
class WordCounts {
 public:
  void Add(std::string_view text);
  // Seen once or never, or at most 20 times a million words.
  bool IsRare(std::string_view word) const;

 private:
  std::unordered_map<std::string, int64_t> counts_;
  int64_t total_ = 0;
};

// The kind of each piece of a text, given as the bytes of its tokens one after another. A token
// belongs to the word that holds its first byte other than white space.
std::vector<TokenKind> ClassifyTokens(std::span<const std::string> pieces,
                                      const WordCounts& counts);

}  // namespace msa
