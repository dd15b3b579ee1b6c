#include "msa/text/decode.h"

#include <uchardet/uchardet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "msa/base/utf8.h"
#include "msa/text/loader.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

using std::string_view_literals::operator""sv;

// Text has hardly any control characters; terminal logs and man pages (escape, backspace) have
// some, and those are not counted.
constexpr double kMaxControlShare = 0.02;
// What is looked at to tell encodings apart.
constexpr size_t kSampleBytes = 64 << 10;
// Western text in Latin-1 has a tenth of its letters above 0x7f; Cyrillic, Greek or an East Asian
// encoding has most of them there.
constexpr double kMaxLatin1HighShare = 0.3;

bool IsOddControl(char32_t c) {
  if (c >= 0x20) return c >= 0x7f && c < 0xa0 && c != 0x85;
  return !(c >= '\b' && c <= '\r') && c != 0x1b;
}

struct Magic {
  std::string_view bytes;
  std::string_view name;
};
constexpr std::array kBinaryMagics = {
    Magic{"PK\x03\x04"sv, "a zip archive (Office documents are such)"},
    Magic{"\x89PNG"sv, "a PNG image"},
    Magic{"\xff\xd8\xff"sv, "a JPEG image"},
    Magic{"GIF8"sv, "a GIF image"},
    Magic{"\x1f\x8b"sv, "gzip-compressed"},
    Magic{"BZh"sv, "bzip2-compressed"},
    Magic{"\xfd\x37zXZ"sv, "xz-compressed"},
    Magic{"\x28\xb5\x2f\xfd"sv, "zstd-compressed"},
    Magic{"\x7f\x45LF"sv, "an ELF program"},
    Magic{"\xd0\xcf\x11\xe0"sv, "an old Office document"},
    Magic{"SQLite format 3"sv, "an SQLite database"},
};

Status NotText(std::string_view why) { return InvalidArgument("not text: " + std::string(why)); }

std::string Percent(int64_t part, int64_t whole) {
  return std::to_string(part * 100 / std::max<int64_t>(whole, 1)) + " %";
}

enum class Utf16Order { kLittle, kBig };

char16_t UnitAt(std::string_view bytes, size_t i, Utf16Order order) {
  const unsigned first = static_cast<unsigned char>(bytes[i]);
  const unsigned second = static_cast<unsigned char>(bytes[i + 1]);
  return static_cast<char16_t>(order == Utf16Order::kLittle ? second << 8 | first
                                                            : first << 8 | second);
}

// How well a sample reads in this order: its white space and punctuation, then its ASCII; 0 if it
// cannot be text in it.
int64_t Utf16Evidence(std::string_view sample, Utf16Order order) {
  int64_t spaces = 0;
  int64_t ascii = 0;
  int64_t odd = 0;
  bool high_pending = false;
  for (size_t i = 0; i + 1 < sample.size(); i += 2) {
    const char16_t unit = UnitAt(sample, i, order);
    const bool low = unit >= 0xdc00 && unit < 0xe000;
    if (unit == 0 || unit >= 0xfffe || low != high_pending) return 0;
    high_pending = unit >= 0xd800 && unit < 0xdc00;
    spaces += unit == ' ' || unit == '\n' || unit == '\r' || unit == '\t' ||
              (unit >= 0x3000 && unit <= 0x3002);
    ascii += unit > ' ' && unit < 0x7f;
    odd += IsOddControl(unit);
  }
  const auto units = static_cast<double>(sample.size() / 2);
  // U+4E00, the commonest Chinese character, is an ASCII letter in the other order: hence the
  // weight.
  return static_cast<double>(odd) > units * kMaxControlShare ? 0 : 8 * spaces + ascii;
}

// UTF-16 without a mark is told by its zero bytes: they all lie on one side of the units, and the
// text makes sense in one order only.
std::optional<Utf16Order> GuessUtf16(std::string_view bytes) {
  const std::string_view sample =
      bytes.substr(0, std::min(bytes.size(), kSampleBytes) & ~size_t{1});
  if (sample.size() < 2 || sample.find('\0') == sample.npos) return std::nullopt;
  const int64_t little = Utf16Evidence(sample, Utf16Order::kLittle);
  const int64_t big = Utf16Evidence(sample, Utf16Order::kBig);
  if (little == big) return std::nullopt;
  return little > big ? Utf16Order::kLittle : Utf16Order::kBig;
}

std::string FromUtf16(std::string_view bytes, Utf16Order order) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    char32_t c = UnitAt(bytes, i, order);
    if (c >= 0xd800 && c < 0xe000) {
      const char32_t next = i + 3 < bytes.size() ? UnitAt(bytes, i + 2, order) : 0;
      if (c < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (next - 0xdc00);
        i += 2;
      } else {
        c = 0xfffd;
      }
    }
    AppendUtf8(c, &out);
  }
  if (bytes.size() % 2 != 0) AppendUtf8(0xfffd, &out);
  return out;
}

std::string FromWindows1252(std::string_view bytes) {
  // 0x80 to 0x9f; the five holes keep their Latin-1 control characters, as browsers read them.
  static constexpr std::array<char16_t, 32> kHigh = {
      0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
      0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
      0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178};
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 8);
  for (const char byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    AppendUtf8(c >= 0x80 && c < 0xa0 ? kHigh[c - 0x80] : c, &out);
  }
  return out;
}

struct Utf8Count {
  int64_t multi_byte = 0;
  int64_t invalid = 0;
  int64_t high_bytes = 0;
};

Utf8Count CountUtf8(std::string_view bytes) {
  Utf8Count count;
  for (size_t i = 0; i < bytes.size();) {
    if (static_cast<unsigned char>(bytes[i]) < 0x80) {
      ++i;
      continue;
    }
    const Utf8Char c = DecodeUtf8(bytes.substr(i));
    ++(c.valid ? count.multi_byte : count.invalid);
    count.high_bytes += c.length_bytes;
    i += static_cast<size_t>(c.length_bytes);
  }
  return count;
}

std::string GuessCharset(std::string_view sample) {
  uchardet_t detector = uchardet_new();
  uchardet_handle_data(detector, sample.data(), sample.size());
  uchardet_data_end(detector);
  std::string name = uchardet_get_charset(detector);
  uchardet_delete(detector);
  return name;
}

// One byte a character, or UTF-8 with damage. Mostly well-formed multi-byte sequences do not happen
// by chance, so then it is UTF-8 and the rest is damage.
Result<std::string> DecodeEightBit(std::string_view bytes, const Utf8Count& count) {
  if (count.multi_byte >= 4 * count.invalid) return ReplaceInvalidUtf8(bytes);
  const auto high_share = static_cast<double>(count.high_bytes) / static_cast<double>(bytes.size());
  if (high_share <= kMaxLatin1HighShare) return FromWindows1252(bytes);
  const size_t first_high = static_cast<size_t>(
      std::find_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0x80) != 0; }) -
      bytes.begin());
  const std::string charset = GuessCharset(bytes.substr(first_high, kSampleBytes));
  if (charset == "WINDOWS-1252" || charset.starts_with("ISO-8859-1")) {
    return FromWindows1252(bytes);
  }
  if (charset.empty()) return NotText("no encoding fits its bytes");
  return InvalidArgument("looks like " + charset +
                         ", which is not read; convert it first: iconv -f " + charset +
                         " -t UTF-8");
}

// In place: \r\n and lone \r become \n.
void NormaliseLineEnds(std::string* text) {
  size_t out = text->find('\r');
  if (out == text->npos) return;
  for (size_t i = out; i < text->size(); ++i) {
    char c = (*text)[i];
    if (c == '\r') {
      if (i + 1 < text->size() && (*text)[i + 1] == '\n') ++i;
      c = '\n';
    }
    (*text)[out++] = c;
  }
  text->resize(out);
}

Status CheckControlShare(std::string_view utf8) {
  int64_t odd = 0;
  int64_t total = 0;
  for (size_t i = 0; i < utf8.size(); ++total) {
    const auto byte = static_cast<unsigned char>(utf8[i]);
    // C1 controls are 0xc2 0x80 to 0xc2 0x9f; no other lead byte matters here.
    if (byte == 0xc2 && i + 1 < utf8.size()) {
      odd += IsOddControl(static_cast<unsigned char>(utf8[i + 1]));
      i += 2;
    } else {
      odd += byte < 0x80 && IsOddControl(byte);
      ++i;
    }
  }
  if (static_cast<double>(odd) <= static_cast<double>(total) * kMaxControlShare) return OkStatus();
  return NotText(Percent(odd, total) + " control characters");
}

Result<std::string> ToUtf8(std::string_view bytes) {
  if (bytes.starts_with("\xff\xfe\0\0"sv) || bytes.starts_with("\0\0\xfe\xff"sv)) {
    return InvalidArgument("UTF-32, which is not read; convert it to UTF-8 first");
  }
  if (bytes.starts_with("\xff\xfe")) return FromUtf16(bytes.substr(2), Utf16Order::kLittle);
  if (bytes.starts_with("\xfe\xff")) return FromUtf16(bytes.substr(2), Utf16Order::kBig);
  if (const auto order = GuessUtf16(bytes)) return FromUtf16(bytes, *order);
  if (bytes.starts_with("\xef\xbb\xbf")) return ReplaceInvalidUtf8(bytes.substr(3));
  const Utf8Count count = CountUtf8(bytes);
  if (count.invalid == 0) return std::string(bytes);
  return DecodeEightBit(bytes, count);
}

}  // namespace

Result<std::string> DecodeText(std::string_view bytes) {
  MSA_ASSIGN_OR_RETURN(std::string text, ToUtf8(bytes));
  if (const size_t nul = text.find('\0'); nul != text.npos) {
    return NotText("a zero byte at " + std::to_string(nul));
  }
  MSA_RETURN_IF_ERROR(CheckControlShare(text));
  NormaliseLineEnds(&text);
  return text;
}

Status CheckMayBeText(std::string_view prefix) {
  for (const Magic& magic : kBinaryMagics) {
    if (prefix.starts_with(magic.bytes)) return NotText(magic.name);
  }
  if (prefix.starts_with("\xff\xfe") || prefix.starts_with("\xfe\xff")) return OkStatus();
  const size_t nul = prefix.find('\0');
  if (nul == prefix.npos || GuessUtf16(prefix)) return OkStatus();
  return NotText("a zero byte at " + std::to_string(nul));
}

std::string CleanTitle(std::string_view text, size_t max_bytes) {
  std::string out;
  bool space = false;
  for (size_t i = 0; i < text.size() && out.size() < max_bytes;) {
    if (const size_t blank = SpaceLength(text, i)) {
      space = !out.empty();
      i += blank;
      continue;
    }
    const Utf8Char c = DecodeUtf8(text.substr(i));
    i += static_cast<size_t>(c.length_bytes);
    if (c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0)) continue;
    const size_t before = out.size();
    if (space) out.push_back(' ');
    space = false;
    AppendUtf8(c.code_point, &out);
    if (out.size() > max_bytes) {
      out.resize(before);
      break;
    }
  }
  return out;
}

}  // namespace msa
