#include "msa/text/lines.h"

#include <algorithm>

#include "msa/text/whitespace.h"

namespace msa {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsBlank(char c) { return c == ' ' || c == '\t'; }

size_t SkipBlanks(std::string_view line, size_t i) {
  while (i < line.size() && IsBlank(line[i])) ++i;
  return i;
}

// Bytes of "12." or "b)" or "(iv)" at `i`; 0 if there is none.
size_t OrdinalLength(std::string_view line, size_t i) {
  const size_t begin = i;
  const bool open = i < line.size() && line[i] == '(';
  if (open) ++i;
  const size_t number = i;
  while (i < line.size() && i - number < 3 && IsDigit(line[i])) ++i;
  if (i == number) {
    const auto roman = [](char c) {
      return std::string_view("ivxIVX").find(c) != std::string_view::npos;
    };
    while (i < line.size() && i - number < 4 && roman(line[i])) ++i;
    if (i == number && i < line.size() && IsAsciiLetter(line[i])) ++i;
    // "A." and "i." begin sentences and names; "A)" and "(i)" do not.
    if (i == number || i >= line.size() || line[i] != ')') return 0;
  }
  if (i >= line.size() || !(line[i] == ')' || (line[i] == '.' && !open))) return 0;
  return i + 1 - begin;
}

}  // namespace

bool IsHeadingLine(std::string_view line) {
  size_t marks = 0;
  while (marks < line.size() && line[marks] == '#') ++marks;
  return marks >= 1 && marks <= 6 && marks < line.size() && IsBlank(line[marks]);
}

bool IsFenceLine(std::string_view line) {
  const size_t begin = std::min(line.find_first_not_of(' '), line.size());
  const std::string_view mark = line.substr(begin, 3);
  return begin <= 3 && (mark == "```" || mark == "~~~");
}

size_t ListMarkLength(std::string_view line) {
  const size_t begin = SkipBlanks(line, 0);
  if (begin == line.size()) return 0;
  size_t mark = 0;
  if (line[begin] == '-' || line[begin] == '*' || line[begin] == '+') {
    mark = 1;
  } else if (line.substr(begin).starts_with("•")) {
    mark = std::string_view("•").size();
  } else {
    mark = OrdinalLength(line, begin);
  }
  if (mark == 0) return 0;
  const size_t text = SkipBlanks(line, begin + mark);
  return text > begin + mark && text < line.size() ? text : 0;
}

bool IsStandaloneLine(std::string_view line) {
  const std::string_view content = Trim(line);
  if (content.empty()) return false;
  if (content.front() == '|') return true;
  if (content.size() < 3 || std::string_view("-=*_~").find(content.front()) == content.npos) {
    return false;
  }
  return content.find_first_not_of(content.front()) == content.npos;
}

}  // namespace msa
