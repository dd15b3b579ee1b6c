#include "msa/eval/token_kinds.h"

#include <algorithm>

#include "msa/base/utf8.h"
#include "msa/text/char_class.h"
#include "msa/text/passages.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

constexpr double kRarePerMillion = 20;
constexpr char32_t kRightQuote = 0x2019;

bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string Lower(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) {
    if (IsUpper(c)) c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsWordChar(char32_t c) {
  return c == '_' || ClassOf(c) == CharClass::kLetter || ClassOf(c) == CharClass::kNumber;
}

// Marks of all scripts lie here, among little else that follows a letter.
bool IsMark(char32_t c) { return c >= 0x300 && c < 0x2000 && ClassOf(c) == CharClass::kOther; }

bool IsApostrophe(char32_t c) { return c == '\'' || c == kRightQuote; }

// getFoo, but not iPhone's like: at least two letters before the capital.
bool IsCamelCase(std::string_view word) {
  for (size_t i = 2; i < word.size(); ++i) {
    if (IsUpper(word[i]) && IsLower(word[i - 1])) return IsLower(word[0]) && IsLower(word[1]);
  }
  return false;
}

TokenKind KindOfWord(std::string_view word, bool begins_sentence, const WordCounts& counts) {
  bool beyond_ascii = false;
  for (size_t i = 0; i < word.size();) {
    const Utf8Char c = DecodeUtf8(word.substr(i));
    beyond_ascii |= c.code_point >= 0x80 && c.code_point != kRightQuote && c.valid;
    i += static_cast<size_t>(c.length_bytes);
  }
  if (beyond_ascii) return TokenKind::kOtherLanguage;
  if (std::any_of(word.begin(), word.end(), IsDigit)) return TokenKind::kNumber;
  if (word.find('_') != word.npos || IsCamelCase(word)) return TokenKind::kCode;
  const bool first_person = word == "I" || word.starts_with("I'");
  if (IsUpper(word[0]) && !begins_sentence && !first_person) return TokenKind::kName;
  return counts.IsRare(word) ? TokenKind::kRareWord : TokenKind::kCommonWord;
}

}  // namespace

void ForEachWord(std::string_view text, FunctionRef<void(size_t begin, size_t end)> on_word) {
  size_t begin = std::string_view::npos;  // of the word we are in
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const auto next = i + static_cast<size_t>(c.length_bytes);
    const bool inside = begin != std::string_view::npos;
    bool part = c.valid && (IsWordChar(c.code_point) || (inside && IsMark(c.code_point)));
    if (inside && IsApostrophe(c.code_point) && next < text.size()) {
      part = ClassOf(DecodeUtf8(text.substr(next)).code_point) == CharClass::kLetter;
    }
    if (part && !inside) begin = i;
    if (!part && inside) {
      on_word(begin, i);
      begin = std::string_view::npos;
    }
    i = next;
  }
  if (begin != std::string_view::npos) on_word(begin, text.size());
}

void WordCounts::Add(std::string_view text) {
  ForEachWord(text, [&](size_t begin, size_t end) {
    ++counts_[Lower(text.substr(begin, end - begin))];
    ++total_;
  });
}

bool WordCounts::IsRare(std::string_view word) const {
  const auto it = counts_.find(Lower(word));
  if (it == counts_.end() || it->second <= 1) return true;
  return static_cast<double>(it->second) * 1e6 <= kRarePerMillion * static_cast<double>(total_);
}

std::vector<TokenKind> ClassifyTokens(std::span<const std::string> pieces,
                                      const WordCounts& counts) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  std::vector<TokenKind> of_byte(text.size(), TokenKind::kCode);
  const std::vector<TextSpan> sentences = SplitSentences(text);
  size_t sentence = 0;  // the next one whose first word has not come
  ForEachWord(text, [&](size_t begin, size_t end) {
    bool begins_sentence = false;
    while (sentence < sentences.size() &&
           sentences[sentence].begin <= static_cast<int64_t>(begin)) {
      begins_sentence = true;
      ++sentence;
    }
    const TokenKind kind =
        KindOfWord(std::string_view(text).substr(begin, end - begin), begins_sentence, counts);
    std::fill(of_byte.begin() + static_cast<std::ptrdiff_t>(begin),
              of_byte.begin() + static_cast<std::ptrdiff_t>(end), kind);
  });
  std::vector<TokenKind> kinds;
  size_t begin = 0;
  for (const std::string& piece : pieces) {
    const size_t end = begin + piece.size();
    const size_t first = SkipSpace(text, begin);
    kinds.push_back(first < end ? of_byte[first] : TokenKind::kCode);
    begin = end;
  }
  return kinds;
}

}  // namespace msa
