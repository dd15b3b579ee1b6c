// UTF-8, strictly (no surrogates, no overlong forms, at most U+10FFFF).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace msa {

// Bytes [begin, end) of `text`, which has them.
inline std::string_view TextBetween(std::string_view text, int64_t begin, int64_t end) {
  return text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

// One decoded code point at the start of `text`; REQUIRES: !text.empty(). An invalid sequence gives
// U+FFFD over the maximal subpart, as Python's errors="replace" and the Unicode standard (3.9,
// table 3-8) do.
struct Utf8Char {
  char32_t code_point;
  int length_bytes;  // consumed, 1 to 4
  bool valid;
};
Utf8Char DecodeUtf8(std::string_view text);

void AppendUtf8(char32_t code_point, std::string* out);

bool IsValidUtf8(std::string_view text);
// `text` with each invalid maximal subpart replaced by U+FFFD: Python's text.decode("utf-8",
// errors="replace").
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace msa
