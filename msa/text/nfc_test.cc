#include "msa/text/nfc.h"

#include <gtest/gtest.h>

namespace msa {
namespace {

std::string Compose(std::string_view text) {
  const auto composed = ComposeNfc(text);
  return composed ? composed->text : std::string(text);
}

// Every code point and random texts are compared with Hugging Face's normaliser in
// tests/tokenizer_parity_test.py; these are the rules one by one.
TEST(ComposeNfc, JoinsLettersAndMarks) {
  EXPECT_EQ(Compose("e\u0301"), "\u00e9");
  EXPECT_EQ(Compose("o\u0323\u0308"), "\u1ecd\u0308");
  EXPECT_EQ(Compose("o\u0308\u0323"), "\u1ecd\u0308");  // reordered first
  EXPECT_EQ(Compose("x\u0301"), "x\u0301");             // there is no such letter
}

TEST(ComposeNfc, AMarkOfTheSameClassBlocks) {
  EXPECT_EQ(Compose("a\u0315\u0300"), "\u00e0\u0315");
  EXPECT_EQ(Compose("a\u0308\u0301"), "\u00e4\u0301");
  EXPECT_EQ(Compose("e\u0310\u0301"), "e\u0310\u0301");
}

TEST(ComposeNfc, ReplacesWhatIsNeverComposed) {
  EXPECT_EQ(Compose("\u212b"), "\u00c5");  // the angstrom sign
  EXPECT_EQ(Compose("\u0344"), "\u0308\u0301");
  EXPECT_EQ(Compose("\u0958"), "\u0915\u093c");
  EXPECT_EQ(Compose("\uf900"), "\u8c48");
}

TEST(ComposeNfc, HangulByArithmetic) {
  EXPECT_EQ(Compose("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(Compose("\ud558\u11ab"), "\ud55c");
  EXPECT_EQ(Compose("\ud55c\u11ab"), "\ud55c\u11ab");
  EXPECT_EQ(Compose("\u1112\u11ab"), "\u1112\u11ab");
}

TEST(ComposeNfc, ComposedTextIsLeftAlone) {
  for (const char* text :
       {"", "plain", "\u00e9t\u00e9 \u4e2d\u6587 \ud55c", "\u0301", "a\n\u0301"}) {
    EXPECT_FALSE(ComposeNfc(text).has_value()) << text;
  }
}

TEST(ComposeNfc, OffsetsLeadBackToTheSource) {
  const std::string source = "ab e\u0301 cd \u212b!";  // é: 3 bytes to 2; Å: 3 bytes to 2
  const auto composed = *ComposeNfc(source);
  ASSERT_EQ(composed.text, "ab \u00e9 cd \u00c5!");
  EXPECT_EQ(composed.ToSource(0), 0);
  EXPECT_EQ(composed.ToSource(3), 3);  // the letter
  EXPECT_EQ(composed.ToSource(4), 3);  // inside it
  EXPECT_EQ(composed.ToSource(5), 6);  // behind it
  EXPECT_EQ(composed.ToSource(9), 10);
  EXPECT_EQ(composed.ToSource(11), 13);
  EXPECT_EQ(composed.ToSource(12), static_cast<int64_t>(source.size()));
}

}  // namespace
}  // namespace msa
