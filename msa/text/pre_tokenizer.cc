#include "msa/text/pre_tokenizer.h"

#include <cstdint>

#include "msa/base/check.h"
#include "msa/base/utf8.h"
#include "msa/text/char_class.h"

namespace msa {
namespace {

struct Char {
  char32_t code_point = 0;
  size_t end = 0;                       // offset behind it
  CharClass value = CharClass::kOther;  // meaningless at the end of the text
  bool present = false;

  bool letter() const { return present && value == CharClass::kLetter; }
  bool number() const { return present && value == CharClass::kNumber; }
  bool space() const { return present && value == CharClass::kSpace; }
  bool symbol() const {
    return present && (value == CharClass::kOther || value == CharClass::kDigitOnly);
  }
  bool numeric() const {
    return present && (value == CharClass::kNumber || value == CharClass::kDigitOnly);
  }
  bool newline() const { return present && (code_point == '\n' || code_point == '\r'); }
};

Char CharAt(std::string_view text, size_t offset) {
  if (offset >= text.size()) return {.end = offset};
  const auto byte = static_cast<unsigned char>(text[offset]);
  if (byte < 0x80) return {byte, offset + 1, ClassOf(byte), true};
  const Utf8Char c = DecodeUtf8(text.substr(offset));
  return {c.code_point, offset + static_cast<size_t>(c.length_bytes), ClassOf(c.code_point), true};
}

// The end of the run of characters for which `wanted` holds, from `offset` on.
template <class Wanted>
size_t SkipWhile(std::string_view text, size_t offset, Wanted wanted) {
  for (Char c = CharAt(text, offset); wanted(c); c = CharAt(text, offset)) offset = c.end;
  return offset;
}

size_t SkipLetters(std::string_view text, size_t offset) {
  return SkipWhile(text, offset, [](const Char& c) { return c.letter(); });
}

// Lower case where the contractions' letters have another case; U+017F is the long s.
char32_t FoldContraction(char32_t c) {
  if (c >= 'A' && c <= 'Z') return c - 'A' + 'a';
  return c == 0x17F ? U's' : c;
}

// Bytes of 's 't 're 've 'm 'll 'd at the start of `text`, or 0.
size_t MatchContraction(std::string_view text, bool ignore_case) {
  if (text.empty() || text[0] != '\'') return 0;
  const Char a = CharAt(text, 1);
  if (!a.letter()) return 0;
  const char32_t first = ignore_case ? FoldContraction(a.code_point) : a.code_point;
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return a.end;
  const Char b = CharAt(text, a.end);
  if (!b.letter()) return 0;
  const char32_t second = ignore_case ? FoldContraction(b.code_point) : b.code_point;
  const bool two =
      (second == 'e' && (first == 'r' || first == 'v')) || (second == 'l' && first == 'l');
  return two ? b.end : 0;
}

// A run of white space: its end, and the starts of what its alternatives need.
struct SpaceRun {
  size_t end = 0;
  size_t last_char = 0;     // where the last character begins
  size_t last_newline = 0;  // behind the last \r or \n; 0: there is none
};

SpaceRun ScanSpaces(std::string_view text) {
  SpaceRun run;
  for (Char c = CharAt(text, 0); c.space(); c = CharAt(text, run.end)) {
    run.last_char = run.end;
    run.end = c.end;
    if (c.newline()) run.last_newline = c.end;
  }
  return run;
}

// \s+(?!\S)|\s+ : all of the run where nothing follows, else all but its last character, which then
// belongs to the word behind; a single character is taken in any case.
size_t MatchSpaces(const SpaceRun& run, bool at_end) {
  return at_end || run.last_char == 0 ? run.end : run.last_char;
}

size_t NextSmolLM2(std::string_view text) {
  const Char first = CharAt(text, 0);
  if (first.numeric()) return first.end;
  if (const size_t n = MatchContraction(text, /*ignore_case=*/false)) return n;
  // `start` skips the optional space before a word.
  const size_t start = first.code_point == ' ' ? first.end : 0;
  const Char c = CharAt(text, start);
  if (c.letter()) return SkipLetters(text, c.end);
  // A numeric character ends the stretch, so a symbol run stops there whatever the pattern says.
  const auto symbol = [](const Char& s) { return s.symbol() && !s.numeric(); };
  if (symbol(c)) return SkipWhile(text, c.end, symbol);
  const SpaceRun run = ScanSpaces(text);
  return MatchSpaces(run, run.end == text.size() || CharAt(text, run.end).numeric());
}

size_t NextLlama3(std::string_view text, int max_digits) {
  if (const size_t n = MatchContraction(text, /*ignore_case=*/true)) return n;
  const Char first = CharAt(text, 0);
  if (first.letter()) return SkipLetters(text, first.end);
  if (first.number()) {
    size_t end = first.end;
    for (int i = 1; i < max_digits && CharAt(text, end).number(); ++i) end = CharAt(text, end).end;
    return end;
  }
  const Char second = CharAt(text, first.end);
  if (!first.newline() && second.letter()) return SkipLetters(text, second.end);
  const auto symbol = [](const Char& s) { return s.symbol(); };
  const bool spaced = first.code_point == ' ' && second.symbol();
  if (spaced || first.symbol()) {
    const size_t end = SkipWhile(text, spaced ? second.end : first.end, symbol);
    return SkipWhile(text, end, [](const Char& c) { return c.newline(); });
  }
  const SpaceRun run = ScanSpaces(text);
  if (run.last_newline != 0) return run.last_newline;
  return MatchSpaces(run, run.end == text.size());
}

}  // namespace

size_t NextPreToken(PreTokenizer kind, std::string_view text) {
  MSA_DCHECK(!text.empty());
  switch (kind) {
    case PreTokenizer::kSmolLM2: return NextSmolLM2(text);
    case PreTokenizer::kLlama3: return NextLlama3(text, 3);
    case PreTokenizer::kQwen3: return NextLlama3(text, 1);
  }
  MSA_CHECK(false);
}

}  // namespace msa
