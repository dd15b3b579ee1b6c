#include "msa/base/utf8.h"

#include <gtest/gtest.h>

namespace msa {
namespace {

constexpr std::string_view kR = "\xEF\xBF\xBD";  // U+FFFD

std::string Repeat(std::string_view s, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += s;
  return out;
}

// The number of U+FFFD that Python gives for each sequence followed by "x".
struct Replacements {
  std::string_view bytes;
  int count;
};
constexpr Replacements kInvalid[] = {
    {"\x80", 1},  // a lone continuation
    {"\xBF\xBF", 2},
    {"\xC0\x80", 2},  // overlong
    {"\xC1\xBF", 2},
    {"\xC2", 1},  // cut
    {"\xC2\xC2", 2},
    {"\xE0\x80\x80", 3},  // overlong
    {"\xE0\x9F\xBF", 3},
    {"\xE0\xA0", 1},  // cut: one maximal subpart
    {"\xE1\x80\xE1", 2},
    {"\xED\xA0\x80", 3},              // a surrogate
    {"\xED\xA0\xBD\xED\xB8\x80", 6},  // a pair of them
    {"\xF0\x80\x80\x80", 4},          // overlong
    {"\xF0\x8F\xBF\xBF", 4},
    {"\xF0\x90", 1},
    {"\xF0\x90\x80", 1},
    {"\xF1\x80\x80\xE1\x80\xC2", 3},  // the standard's example, table 3-8
    {"\xF4\x90\x80\x80", 4},          // above U+10FFFF
    {"\xF5\x80\x80\x80", 4},
    {"\xF8\x88\x80\x80\x80", 5},
    {"\xFE", 1},
    {"\xFF\xFF", 2},
};

TEST(Utf8, InvalidBytesBecomeReplacementsAsInPython) {
  for (const auto& [bytes, count] : kInvalid) {
    const std::string text(bytes);
    EXPECT_EQ(ReplaceInvalidUtf8(text + "x"), Repeat(kR, count) + "x")
        << ::testing::PrintToString(text);
    EXPECT_EQ(ReplaceInvalidUtf8(text), Repeat(kR, count)) << ::testing::PrintToString(text);
    EXPECT_FALSE(IsValidUtf8(text));
    EXPECT_FALSE(IsValidUtf8("twenty bytes of ASCII" + text));
  }
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Char decoded = DecodeUtf8(text + "\x80");
    ASSERT_TRUE(decoded.valid) << static_cast<uint32_t>(c);
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(static_cast<size_t>(decoded.length_bytes), text.size());
    ASSERT_TRUE(IsValidUtf8(text));
  }
}

TEST(Utf8, DecodeSaysHowMuchItConsumed) {
  const Utf8Char c = DecodeUtf8("\xE2\x82z");
  EXPECT_FALSE(c.valid);
  EXPECT_EQ(c.length_bytes, 2);
  EXPECT_EQ(c.code_point, U'\uFFFD');
}

TEST(Utf8, NulAndTheReplacementItselfAreValid) {
  const std::string text = std::string("a\0b", 3) + std::string(kR);
  EXPECT_TRUE(IsValidUtf8(text));
  EXPECT_EQ(ReplaceInvalidUtf8(text), text);
  EXPECT_TRUE(IsValidUtf8(""));
}

TEST(Utf8, AnInvalidByteIsFoundAtEveryPlace) {
  for (size_t at = 0; at < 40; ++at) {
    std::string text(40, 'a');
    text[at] = '\xFF';
    EXPECT_FALSE(IsValidUtf8(text)) << at;
  }
}

}  // namespace
}  // namespace msa
