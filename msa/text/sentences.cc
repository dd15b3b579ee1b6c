// Sentence boundaries in two steps. First lines: which line ends are there to break a long line,
// and which end something (a heading, a list item, a row, a line of code)? Then full stops: which
// end a sentence, and which an abbreviation?

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "msa/base/utf8.h"
#include "msa/text/lines.h"
#include "msa/text/passages.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

using std::string_view_literals::operator""sv;

// After these a full stop never ends a sentence. Sorted, without the last dot, ASCII lower case.
constexpr std::array kTitles = {
    "approx"sv, "capt"sv, "cf"sv,  "col"sv, "dr"sv,   "e.g"sv,  "eg"sv,  "eq"sv,   "eqs"sv,
    "fig"sv,    "figs"sv, "gen"sv, "gov"sv, "hon"sv,  "i.e"sv,  "ie"sv,  "lt"sv,   "maj"sv,
    "mr"sv,     "mrs"sv,  "ms"sv,  "pp"sv,  "pres"sv, "prof"sv, "ref"sv, "refs"sv, "rep"sv,
    "rev"sv,    "sec"sv,  "sen"sv, "sgt"sv, "viz"sv,  "vs"sv};
// After these only before a number ("No. 5", "vol. 2"); otherwise they are words like any other.
constexpr std::array kBeforeNumbers = {"art"sv, "ch"sv,  "chap"sv, "no"sv,  "nos"sv,
                                       "p"sv,   "par"sv, "pt"sv,   "vol"sv, "vols"sv};
// After these it may: if what follows is how sentences begin.
constexpr std::array kMayEnd = {"a.m"sv,  "al"sv,   "apr"sv,  "aug"sv, "ave"sv, "bros"sv, "co"sv,
                                "corp"sv, "dec"sv,  "dept"sv, "ed"sv,  "eds"sv, "esp"sv,  "est"sv,
                                "etc"sv,  "feb"sv,  "inc"sv,  "jan"sv, "jr"sv,  "jul"sv,  "jun"sv,
                                "ltd"sv,  "mar"sv,  "mt"sv,   "nov"sv, "oct"sv, "p.m"sv,  "ph.d"sv,
                                "sep"sv,  "sept"sv, "sr"sv,   "st"sv,  "univ"sv};
constexpr std::array kStarters = {
    "A"sv,       "After"sv, "All"sv,   "Although"sv, "An"sv,    "And"sv,   "As"sv,   "At"sv,
    "Because"sv, "But"sv,   "By"sv,    "During"sv,   "Each"sv,  "For"sv,   "From"sv, "He"sv,
    "Her"sv,     "His"sv,   "How"sv,   "However"sv,  "I"sv,     "If"sv,    "In"sv,   "It"sv,
    "Its"sv,     "Many"sv,  "Most"sv,  "My"sv,       "No"sv,    "Not"sv,   "On"sv,   "One"sv,
    "Our"sv,     "She"sv,   "Since"sv, "So"sv,       "Some"sv,  "That"sv,  "The"sv,  "Their"sv,
    "Then"sv,    "There"sv, "These"sv, "They"sv,     "This"sv,  "Those"sv, "To"sv,   "We"sv,
    "What"sv,    "When"sv,  "Where"sv, "Which"sv,    "While"sv, "Who"sv,   "Why"sv,  "With"sv,
    "You"sv,     "Your"sv};

template <size_t N>
bool Contains(const std::array<std::string_view, N>& sorted, std::string_view word) {
  return std::binary_search(sorted.begin(), sorted.end(), word);
}
static_assert(std::is_sorted(kTitles.begin(), kTitles.end()));
static_assert(std::is_sorted(kBeforeNumbers.begin(), kBeforeNumbers.end()));
static_assert(std::is_sorted(kMayEnd.begin(), kMayEnd.end()));
static_assert(std::is_sorted(kStarters.begin(), kStarters.end()));

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsUpperAscii(char c) { return c >= 'A' && c <= 'Z'; }
bool IsAsciiLetter(char c) { return IsUpperAscii(c) || (c >= 'a' && c <= 'z'); }

// Small letters of the scripts that have them; enough to see that a sentence goes on.
bool IsLower(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  if (c >= 0xdf && c <= 0xff) return c != 0xf7;
  if (c >= 0x100 && c <= 0x137) return c % 2 == 1;
  return (c >= 0x3ac && c <= 0x3ce) || (c >= 0x430 && c <= 0x45f);
}

// Ends a sentence wherever it stands: 。！？｡ and the full stops of Devanagari, Urdu, Arabic,
// Burmese, Khmer and Ethiopic.
bool IsHardStop(char32_t c) {
  switch (c) {
    case U'。':
    case U'！':
    case U'？':
    case U'｡':
    case U'।':
    case U'॥':
    case U'۔':
    case U'؟':
    case U'။':
    case U'។':
    case U'።': return true;
    default: return false;
  }
}

bool IsSoftStop(char32_t c) { return c == '.' || c == '!' || c == '?' || c == U'…'; }

// Closes a quotation or a bracket, and belongs to the sentence before it.
bool IsCloser(char32_t c) {
  switch (c) {
    case '"':
    case '\'':
    case ')':
    case ']':
    case '}':
    case '*':
    case '_':
    case U'”':
    case U'’':
    case U'»':
    case U'」':
    case U'』':
    case U'）':
    case U'】':
    case U'》':
    case U'〉': return true;
    default: return false;
  }
}

// Sentences of one block: a run of text whose line ends mean no more than blanks.
class BlockSplitter {
 public:
  BlockSplitter(std::string_view text, std::vector<TextSpan>* spans) : text_(text), spans_(spans) {}

  // All of [begin, end) as one sentence, whatever stops are in it.
  void Keep(size_t begin, size_t end) {
    end_ = end;
    start_ = SkipSpace(text_.substr(0, end), begin);
    Emit(end);
  }

  void Split(size_t begin, size_t end) {
    end_ = end;
    start_ = SkipSpace(text_.substr(0, end), begin);
    // A mark is part of its item, and "1." no sentence.
    size_t i = start_ + ListMarkLength(LineAt(text_.substr(0, end), start_));
    while (i < end) {
      const auto byte = static_cast<unsigned char>(text_[i]);
      if (byte < 0x80) {
        if (byte == '.' || byte == '!' || byte == '?') {
          i = AtStop(i, i + 1, false);
        } else {
          ++i;
        }
        continue;
      }
      const Utf8Char c = DecodeUtf8(text_.substr(i, end - i));
      const size_t next = i + static_cast<size_t>(c.length_bytes);
      const bool hard = IsHardStop(c.code_point);
      i = hard || IsSoftStop(c.code_point) ? AtStop(i, next, hard) : next;
    }
    Emit(end);
  }

 private:
  // A stop character at [stop, i). Returns where to go on.
  size_t AtStop(size_t stop, size_t i, bool hard) {
    const bool single_dot = text_[stop] == '.' && !(i < end_ && IsSoftStop(PeekAt(i)));
    while (i < end_) {
      const Utf8Char c = DecodeUtf8(text_.substr(i, end_ - i));
      if (!IsSoftStop(c.code_point) && !IsHardStop(c.code_point) && !IsCloser(c.code_point)) break;
      hard |= IsHardStop(c.code_point);
      i += static_cast<size_t>(c.length_bytes);
    }
    i = SkipNoteMarks(i);
    if (hard) {
      Emit(i);
      return i;
    }
    if (i >= end_ || SpaceLength(text_, i) == 0) return i;
    const size_t next = SkipSpace(text_.substr(0, end_), i);
    if (next < end_ && EndsSentence(stop, next, single_dot)) Emit(i);
    return next;
  }

  char32_t PeekAt(size_t i) const { return DecodeUtf8(text_.substr(i, end_ - i)).code_point; }

  // "[12]" right after a stop: a reference that belongs to the sentence.
  size_t SkipNoteMarks(size_t i) const {
    while (i < end_ && text_[i] == '[') {
      size_t close = i + 1;
      while (close < end_ && close - i < 6 && IsDigit(text_[close])) ++close;
      if (close == i + 1 || close >= end_ || text_[close] != ']') break;
      i = close + 1;
    }
    return i;
  }

  bool EndsSentence(size_t stop, size_t next, bool single_dot) const {
    const char32_t first = PeekAt(next);
    if (IsLower(first) || IsSoftStop(first)) return false;  // ". . ." leads to a page number
    if (!single_dot) return true;
    const std::string_view word = WordBefore(stop);
    if (word.empty()) return !FollowsSpacedStop(stop);
    if (word.size() == 1 && IsUpperAscii(word[0])) return StartsSentence(next);  // an initial
    std::array<char, 8> buffer;
    if (word.size() > buffer.size()) return true;
    std::transform(word.begin(), word.end(), buffer.begin(),
                   [](char c) { return IsUpperAscii(c) ? static_cast<char>(c + 32) : c; });
    const std::string_view lower(buffer.data(), word.size());
    if (Contains(kTitles, lower)) return false;
    if (Contains(kBeforeNumbers, lower)) return !IsDigit(text_[next]);
    const bool acronym = word.size() >= 3 && word[1] == '.' && IsAsciiLetter(word[0]);  // "U.S"
    return !acronym && !Contains(kMayEnd, lower) ? true : StartsSentence(next);
  }

  // Letters, digits and inner dots before a full stop, at most nine: more is no abbreviation.
  std::string_view WordBefore(size_t stop) const {
    size_t begin = stop;
    while (begin > start_ && stop - begin < 9) {
      const char c = text_[begin - 1];
      if (!IsAsciiLetter(c) && !IsDigit(c) && c != '.') break;
      --begin;
    }
    return text_.substr(begin, stop - begin);
  }

  bool FollowsSpacedStop(size_t stop) const {
    const size_t before = TrimEnd(text_, start_, stop);
    return before < stop && before > start_ && text_[before - 1] == '.';
  }

  bool StartsSentence(size_t i) const {
    size_t word_end = i;
    while (word_end < end_ && word_end - i < 10 && IsAsciiLetter(text_[word_end])) ++word_end;
    // A quotation, a bracket, another script: no name follows an abbreviation like that.
    if (word_end == i) return !IsDigit(text_[i]);
    return Contains(kStarters, text_.substr(i, word_end - i));
  }

  void Emit(size_t end) {
    const size_t trimmed = TrimEnd(text_, start_, end);
    if (trimmed > start_) {
      spans_->push_back({static_cast<int64_t>(start_), static_cast<int64_t>(trimmed)});
    }
    start_ = SkipSpace(text_.substr(0, end_), end);
  }

  std::string_view text_;
  std::vector<TextSpan>* spans_;
  size_t start_ = 0;  // of the sentence being read
  size_t end_ = 0;    // of the block
};

struct Line {
  size_t begin;
  size_t end;  // without the line end
  int64_t columns;
  bool blank;
  bool alone;  // a heading, a row, a rule, a line of code: a sentence of its own
  bool item;   // begins a list item, or continues a quotation
};

int64_t CountChars(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return !IsContinuationByte(c); });
}

// Reads the line at `begin`; `in_code` is the state of fences, updated.
Line ReadLine(std::string_view text, size_t begin, bool* in_code) {
  const std::string_view content = LineAt(text, begin);
  Line line{begin, begin + content.size(), CountChars(content), false, false, false};
  line.blank = SkipSpace(content, 0) == content.size();
  if (line.blank) return line;
  if (IsFenceLine(content)) {
    *in_code = !*in_code;
    line.alone = true;
    return line;
  }
  line.alone = *in_code || IsHeadingLine(content) || IsStandaloneLine(content);
  const bool quoted = content[SkipSpace(content, 0)] == '>';
  line.item = !line.alone && (quoted || ListMarkLength(content) > 0);
  return line;
}

// Text is wrapped by hand or by a PDF at 40 to 120 columns. There a line end means nothing, unless
// the next word would have fit with room to spare; elsewhere every line end is meant.
constexpr int64_t kMinWrapColumns = 40;
constexpr int64_t kMaxWrapColumns = 120;

bool IsWrap(std::string_view text, const Line& line, const Line& next, int64_t width) {
  if (width < kMinWrapColumns || width > kMaxWrapColumns) return false;
  const size_t begin = SkipSpace(text, next.begin);
  size_t end = begin;
  while (end < next.end && SpaceLength(text, end) == 0) ++end;
  const int64_t with_word = line.columns + 1 + CountChars(text.substr(begin, end - begin));
  return with_word * 4 >= width * 3;
}

// The lines of one paragraph: [begin, end) of `lines`, none of them blank.
void SplitParagraph(std::string_view text, const Line* begin, const Line* end,
                    BlockSplitter* splitter) {
  int64_t width = 0;
  for (const Line* line = begin; line != end; ++line) {
    if (!line->alone) width = std::max(width, line->columns);
  }
  const Line* first = begin;
  for (const Line* line = begin; line != end; ++line) {
    const Line* next = line + 1;
    const bool goes_on = next != end && !line->alone && !next->alone && !next->item &&
                         IsWrap(text, *line, *next, width);
    if (goes_on) continue;
    if (line->alone) {
      splitter->Keep(line->begin, line->end);
    } else {
      splitter->Split(first->begin, line->end);
    }
    first = next;
  }
}

}  // namespace

std::vector<TextSpan> SplitSentences(std::string_view text) {
  std::vector<TextSpan> spans;
  BlockSplitter splitter(text, &spans);
  std::vector<Line> paragraph;
  bool in_code = false;
  const auto flush = [&] {
    SplitParagraph(text, paragraph.data(), paragraph.data() + paragraph.size(), &splitter);
    paragraph.clear();
  };
  for (size_t begin = 0; begin < text.size();) {
    const Line line = ReadLine(text, begin, &in_code);
    if (line.blank) {
      flush();
    } else {
      paragraph.push_back(line);
    }
    begin = line.end + 1;
  }
  flush();
  return spans;
}

}  // namespace msa
