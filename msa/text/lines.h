// What the lines of plain text and Markdown say about its structure.
#pragma once

#include <cstddef>
#include <string_view>

namespace msa {

// The line that begins at `begin`, without its line end.
inline std::string_view LineAt(std::string_view text, size_t begin) {
  const size_t end = text.find('\n', begin);
  return text.substr(begin, (end == text.npos ? text.size() : end) - begin);
}

// "# Heading" of Markdown, up to six marks.
bool IsHeadingLine(std::string_view line);
// ``` or ~~~, after at most three blanks: begins and ends a code block.
bool IsFenceLine(std::string_view line);
// Bytes up to the item's text in "- x", "* x", "• x", "3. x", "b) x", "(iv) x"; 0 if it is no item.
size_t ListMarkLength(std::string_view line);
// A table row ("| a | b |") or a rule ("---", "===").
bool IsStandaloneLine(std::string_view line);

}  // namespace msa
