#include "msa/text/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "msa/base/utf8.h"
#include "msa/text/loader.h"

namespace msa {
namespace {

using ::testing::HasSubstr;
using std::string_literals::operator""s;

std::string Utf16(std::u16string_view text, bool little) {
  std::string bytes;
  for (const char16_t unit : text) {
    const char low = static_cast<char>(unit & 0xff);
    const char high = static_cast<char>(unit >> 8);
    bytes += little ? std::string{low, high} : std::string{high, low};
  }
  return bytes;
}

std::string Decode(std::string_view bytes) {
  auto text = DecodeText(bytes);
  return text.ok() ? *text : "error: " + text.status().message();
}

TEST(DecodeText, KeepsUtf8AndDropsItsMark) {
  EXPECT_EQ(Decode("naïve 記憶 🙂\n"), "naïve 記憶 🙂\n");
  EXPECT_EQ(Decode("\xef\xbb\xbfmarked"), "marked");
  EXPECT_EQ(Decode(""), "");
}

TEST(DecodeText, LineEndsBecomeNewlines) {
  EXPECT_EQ(Decode("a\r\nb\rc\n\r\nd\r"), "a\nb\nc\n\nd\n");
}

TEST(DecodeText, ReadsUtf16OfBothOrdersWithAndWithoutMark) {
  const std::u16string text = u"Memory, naïve: 記憶 and 🙂.\nSecond line.\n";
  const std::string expected = "Memory, naïve: 記憶 and 🙂.\nSecond line.\n";
  for (const bool little : {true, false}) {
    SCOPED_TRACE(little);
    EXPECT_EQ(Decode(Utf16(u"\ufeff" + text, little)), expected);
    EXPECT_EQ(Decode(Utf16(text, little)), expected);
  }
}

TEST(DecodeText, TellsTheOrderOfChineseUtf16WithoutMark) {
  // U+4E00 has a zero byte too, and is "N" in the other order.
  const std::u16string text = u"一一一一一一一一，这是一个测试。\n一二三。\n";
  for (const bool little : {true, false}) {
    SCOPED_TRACE(little);
    EXPECT_EQ(Decode(Utf16(text, little)), "一一一一一一一一，这是一个测试。\n一二三。\n");
  }
}

TEST(DecodeText, ReplacesBrokenUtf16) {
  EXPECT_EQ(Decode("\xff\xfe"s + "a\0"s + "\x00\xd8"s + "b\0"s), "a\ufffdb");
  EXPECT_EQ(Decode("\xff\xfe"s + "a\0"s + "b"s), "a\ufffd");
}

TEST(DecodeText, ReadsWindows1252) {
  EXPECT_EQ(Decode("caf\xe9"), "café");
  EXPECT_EQ(Decode("\x93quoted\x94 text \x96 for 5 \x80"), "“quoted” text – for 5 €");
  EXPECT_EQ(Decode("Die Stra\xdf"
                   "e f\xfchrt \xfc"
                   "ber den Flu\xdf."),
            "Die Straße führt über den Fluß.");
}

TEST(DecodeText, ADamagedByteDoesNotTurnUtf8IntoLatin1) {
  EXPECT_EQ(Decode("naïve café über Größe \xff Straße"), "naïve café über Größe \ufffd Straße");
}

TEST(DecodeText, NamesEncodingsItDoesNotRead) {
  const std::string cyrillic =
      "\xcf\xf0\xe8\xe2\xe5\xf2, \xec\xe8\xf0! \xca\xe0\xea \xe4\xe5\xeb\xe0 "
      "\xf1\xe5\xe3\xee\xe4\xed\xff?";
  EXPECT_THAT(Decode(cyrillic), HasSubstr("WINDOWS-1251"));
  EXPECT_THAT(Decode("\xff\xfe\0\0a\0\0\0"s), HasSubstr("UTF-32"));
}

TEST(DecodeText, RefusesWhatIsNoText) {
  EXPECT_THAT(Decode("abc\0\0def"s), HasSubstr("not text: a zero byte at 3"));
  EXPECT_THAT(Decode("\x01\x02\x03 some text"), HasSubstr("control characters"));
  // A terminal log has escapes, a man page backspaces.
  EXPECT_EQ(Decode("\x1b[1mbold\x1b[0m N\bNA"), "\x1b[1mbold\x1b[0m N\bNA");
}

TEST(DecodeText, AnyBytesGiveValidUtf8WithoutZerosOrAnError) {
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string bytes(random() % 200, '\0');
    const uint32_t spread = 1 + random() % 256;
    const uint32_t base = random() % 256;
    for (char& c : bytes) c = static_cast<char>(base + random() % spread);
    if (random() % 4 == 0) bytes.insert(0, random() % 2 == 0 ? "\xff\xfe" : "\xfe\xff");
    ASSERT_TRUE(CheckMayBeText(bytes).ok() || !CheckMayBeText(bytes).message().empty());
    const auto text = DecodeText(bytes);
    if (!text.ok()) continue;
    ASSERT_TRUE(IsValidUtf8(*text));
    ASSERT_EQ(text->find_first_of("\r\0"s), std::string::npos);
  }
}

TEST(CheckMayBeText, NamesCommonBinaries) {
  EXPECT_THAT(CheckMayBeText("PK\x03\x04rest").message(), HasSubstr("zip archive"));
  EXPECT_THAT(CheckMayBeText("\x89PNG\r\n").message(), HasSubstr("PNG"));
  EXPECT_FALSE(CheckMayBeText("MZ\x90\0\x03\0\0\0"s).ok());
  EXPECT_TRUE(CheckMayBeText("plain").ok());
  EXPECT_TRUE(CheckMayBeText("w\0i\0d\0e\0 \0t\0e\0x\0t\0"s).ok());
}

TEST(CleanTitle, IsOneShortLine) {
  EXPECT_EQ(CleanTitle("  A\n title\t\u00a0with\x01 space "), "A title with space");
  EXPECT_EQ(CleanTitle(" \n"), "");
  EXPECT_EQ(CleanTitle("記憶記憶", 7), "記憶");
  EXPECT_EQ(CleanTitle("ab cd", 3), "ab");
}

}  // namespace
}  // namespace msa
