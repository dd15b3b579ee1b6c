// White space as Unicode and the tokenizers' \s see it, over UTF-8 bytes.
#pragma once

#include <cstdint>
#include <string_view>

namespace msa {

// Bytes of the white-space character at `i`, 0 if there is another. Never reads past the end.
inline size_t SpaceLength(std::string_view text, size_t i) {
  const auto byte = static_cast<unsigned char>(text[i]);
  if (byte == ' ' || (byte >= '\t' && byte <= '\r')) return 1;
  // U+0085, U+00A0; then U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000.
  if (byte == 0xc2) {
    if (i + 1 >= text.size()) return 0;
    const auto next = static_cast<unsigned char>(text[i + 1]);
    return next == 0x85 || next == 0xa0 ? 2 : 0;
  }
  if (byte < 0xe1 || byte > 0xe3 || i + 2 >= text.size()) return 0;
  const unsigned tail =
      static_cast<unsigned char>(text[i + 1]) << 8 | static_cast<unsigned char>(text[i + 2]);
  if (byte == 0xe1) return tail == 0x9a80 ? 3 : 0;
  if (byte == 0xe3) return tail == 0x8080 ? 3 : 0;
  return (tail >= 0x8080 && tail <= 0x808a) || tail == 0x80a8 || tail == 0x80a9 || tail == 0x80af ||
                 tail == 0x819f
             ? 3
             : 0;
}

// The first byte at or after `i` that is not white space, at most text.size().
inline size_t SkipSpace(std::string_view text, size_t i) {
  while (i < text.size()) {
    const size_t length = SpaceLength(text, i);
    if (length == 0) break;
    i += length;
  }
  return i;
}

inline bool IsContinuationByte(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// `i`, or the beginning of the character that `i` is inside of. Where the bytes are no UTF-8, any
// place is as good.
inline size_t AlignToCharacter(std::string_view text, size_t i) {
  size_t start = i;
  while (start > 0 && start < text.size() && i - start < 3 && IsContinuationByte(text[start])) {
    --start;
  }
  return start < text.size() && IsContinuationByte(text[start]) ? i : start;
}

// The end of text[begin, end) without the white space before `end`; at least `begin`.
inline size_t TrimEnd(std::string_view text, size_t begin, size_t end) {
  while (end > begin) {
    size_t start = end - 1;
    while (start > begin && IsContinuationByte(text[start]) && end - start < 3) --start;
    if (SpaceLength(text.substr(0, end), start) != end - start) break;
    end = start;
  }
  return end;
}

inline std::string_view Trim(std::string_view text) {
  const size_t begin = SkipSpace(text, 0);
  return text.substr(begin, TrimEnd(text, begin, text.size()) - begin);
}

}  // namespace msa
