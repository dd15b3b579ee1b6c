#include "msa/base/utf8.h"

#include <cstring>

#include "msa/base/check.h"

namespace msa {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

unsigned ByteAt(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// Whole words of ASCII at the start of `text`, in bytes. Most text is little else.
size_t AsciiPrefix(std::string_view text) {
  size_t length = 0;
  for (uint64_t word = 0; text.size() - length >= sizeof(word); length += sizeof(word)) {
    std::memcpy(&word, text.data() + length, sizeof(word));
    if ((word & 0x8080808080808080) != 0) break;
  }
  return length;
}

}  // namespace

// The Unicode standard's table 3-7: only the second byte's range depends on the first byte, and
// that range is what excludes surrogates, overlong forms and code points above U+10FFFF.
Utf8Char DecodeUtf8(std::string_view text) {
  MSA_DCHECK(!text.empty());
  const unsigned lead = ByteAt(text, 0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC2 || lead > 0xF4) return {kReplacement, 1, false};
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  char32_t code_point = lead & (0xFFu >> (length + 1));
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) == text.size()) return {kReplacement, i, false};
    const unsigned byte = ByteAt(text, static_cast<size_t>(i));
    if (byte < low || byte > high) return {kReplacement, i, false};
    code_point = code_point << 6 | (byte & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {code_point, length, true};
}

void AppendUtf8(char32_t code_point, std::string* out) {
  MSA_CHECK(code_point <= 0x10FFFF && (code_point < 0xD800 || code_point > 0xDFFF));
  const auto append = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    append(code_point);
  } else if (code_point < 0x800) {
    append(0xC0 | code_point >> 6);
    append(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    append(0xE0 | code_point >> 12);
    append(0x80 | (code_point >> 6 & 0x3F));
    append(0x80 | (code_point & 0x3F));
  } else {
    append(0xF0 | code_point >> 18);
    append(0x80 | (code_point >> 12 & 0x3F));
    append(0x80 | (code_point >> 6 & 0x3F));
    append(0x80 | (code_point & 0x3F));
  }
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    text.remove_prefix(AsciiPrefix(text));
    if (text.empty()) break;
    const Utf8Char c = DecodeUtf8(text);
    if (!c.valid) return false;
    text.remove_prefix(static_cast<size_t>(c.length_bytes));
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    const auto length = static_cast<size_t>(c.length_bytes);
    if (c.valid) {
      out.append(text.substr(0, length));
    } else {
      AppendUtf8(kReplacement, &out);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace msa
