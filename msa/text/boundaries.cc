#include "msa/text/boundaries.h"

#include <algorithm>
#include <array>

#include "msa/base/check.h"
#include "msa/base/utf8.h"
#include "msa/text/lines.h"
#include "msa/text/passages.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

// What follows the limit decides whether a sentence ends there.
constexpr size_t kLookAheadBytes = 128;
constexpr size_t kMaxHeadingBytes = 100;

// Whether the paragraph that ends at `end` introduces what follows: a heading on its own line, or a
// colon. A passage should not end with it.
bool Introduces(std::string_view text, size_t begin, size_t end) {
  const char last = text[end - 1];
  if (last == ':') return true;
  const size_t newline = text.substr(begin, end - begin).rfind('\n');
  const size_t line_begin = newline == std::string_view::npos ? begin : begin + newline + 1;
  const std::string_view line = text.substr(line_begin, end - line_begin);
  if (IsHeadingLine(line)) return true;
  if (line.size() > kMaxHeadingBytes || last == '.' || last == '!' || last == '?') return false;
  const size_t before = TrimEnd(text, begin, line_begin);
  const auto gap = text.substr(before, line_begin - before);
  return std::count(gap.begin(), gap.end(), '\n') > 1 && ListMarkLength(line) == 0;
}

// Whether a blank line or a heading follows the line that ends at `end`.
bool ParagraphFollows(std::string_view text, size_t end) {
  const size_t next = SkipSpace(text, end);
  const auto gap = text.substr(end, next - end);
  if (std::count(gap.begin(), gap.end(), '\n') > 1) return true;
  const size_t line = end + gap.rfind('\n') + 1;
  return IsHeadingLine(LineAt(text.substr(line, kMaxHeadingBytes), 0));
}

// The end of the last line that ends in (low, limit] and satisfies `accept`, without the white
// space at its end; 0 if there is none.
template <class Accept>
size_t LastLineEnd(std::string_view text, size_t begin, size_t low, size_t limit, Accept accept) {
  for (size_t high = std::min(limit + 1, text.size()); high > low;) {
    const size_t found = text.substr(low, high - low).rfind('\n');
    if (found == text.npos) return 0;
    const size_t newline = low + found;
    const size_t end = TrimEnd(text, begin, newline);
    if (end <= low) return 0;
    if (accept(end)) return end;
    high = end;  // the other line ends of this gap say the same
  }
  return 0;
}

struct SentenceEnds {
  size_t at_line_end = 0;
  size_t anywhere = 0;
};

SentenceEnds LastSentenceEnds(std::string_view text, size_t begin, size_t low, size_t limit) {
  const size_t window_end = AlignToCharacter(text, std::min(text.size(), limit + kLookAheadBytes));
  SentenceEnds ends;
  for (const TextSpan& span : SplitSentences(text.substr(begin, window_end - begin))) {
    const size_t end = begin + static_cast<size_t>(span.end);
    if (end > limit) break;
    if (end <= low || end == window_end) continue;
    ends.anywhere = end;
    const size_t blanks_end = text.find_first_not_of(" \t", end);
    if (blanks_end != text.npos && text[blanks_end] == '\n') ends.at_line_end = end;
  }
  return ends;
}

// The end of the last whole word in (low, limit]; 0 if there is none.
size_t LastWordEnd(std::string_view text, size_t begin, size_t low, size_t limit) {
  for (size_t i = limit; i > low; --i) {
    if (i == text.size() || SpaceLength(text, i) > 0) {
      const size_t end = TrimEnd(text, begin, i);
      return end > low ? end : 0;
    }
  }
  return 0;
}

}  // namespace

size_t ChooseBoundary(std::string_view text, size_t begin, size_t limit) {
  MSA_CHECK(begin < limit && limit <= text.size());
  const size_t low = begin + (limit - begin) / 2;
  const auto paragraph = [&](size_t end) {
    return ParagraphFollows(text, end) && !Introduces(text, begin, end);
  };
  if (const size_t end = LastLineEnd(text, begin, low, limit, paragraph)) return end;
  const SentenceEnds sentence = LastSentenceEnds(text, begin, low, limit);
  if (sentence.at_line_end > 0) return sentence.at_line_end;
  if (sentence.anywhere > 0) return sentence.anywhere;
  const auto any = [](size_t) { return true; };
  if (const size_t end = LastLineEnd(text, begin, low, limit, any)) return end;
  if (const size_t end = LastWordEnd(text, begin, low, limit)) return end;
  const size_t end = TrimEnd(text, begin, AlignToCharacter(text, limit));
  if (end > begin) return end;
  return begin + static_cast<size_t>(DecodeUtf8(text.substr(begin)).length_bytes);
}

}  // namespace msa
