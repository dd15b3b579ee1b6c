// UTF-8, strictly (no surrogates, no overlong forms, at most U+10FFFF).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace msa {

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
