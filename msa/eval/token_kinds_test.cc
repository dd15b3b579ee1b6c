#include "msa/eval/token_kinds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa {
namespace {

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  ForEachWord(
      text, [&](size_t begin, size_t end) { words.emplace_back(text.substr(begin, end - begin)); });
  return words;
}

TEST(ForEachWord, KeepsApostrophesMarksAndUnderscores) {
  EXPECT_THAT(Words("It's 'quoted' snake_case, x86; l’été नमस्ते 漢字 -- a.b"),
              testing::ElementsAre("It's", "quoted", "snake_case", "x86", "l’été", "नमस्ते", "漢字",
                                   "a", "b"));
}

// "rebuilt" stands there once, the others often enough.
WordCounts Counts() {
  WordCounts counts;
  for (int i = 0; i < 10; ++i) counts.Add("The tower was in I'm great I where and it by");
  counts.Add("rebuilt");
  return counts;
}

// Splits at `|`, which belongs to no piece.
std::vector<TokenKind> Kinds(std::string_view marked) {
  std::vector<std::string> pieces(1);
  for (const char c : marked) {
    if (c == '|') {
      pieces.emplace_back();
    } else {
      pieces.back() += c;
    }
  }
  return ClassifyTokens(pieces, Counts());
}

using enum TokenKind;

TEST(ClassifyTokens, TellsKindsApart) {
  EXPECT_THAT(Kinds("The| tower| was| re|built| in| 1759| by| John| Smea|ton|.| It| was| great|."),
              testing::ElementsAre(kCommonWord, kCommonWord, kCommonWord, kRareWord, kRareWord,
                                   kCommonWord, kNumber, kCommonWord, kName, kName, kName, kCode,
                                   kCommonWord, kCommonWord, kCommonWord, kCode));
}

TEST(ClassifyTokens, CodeLanguagesAndPronouns) {
  EXPECT_THAT(
      Kinds("The| get|Value| my|_|var| (|)|\n\n| caf|é| was| 漢|字| and| I| was"),
      testing::ElementsAre(kCommonWord, kCode, kCode, kCode, kCode, kCode, kCode, kCode, kCode,
                           kOtherLanguage, kOtherLanguage, kCommonWord, kOtherLanguage,
                           kOtherLanguage, kCommonWord, kCommonWord, kCommonWord));
}

TEST(ClassifyTokens, ATokenInsideACharacterBelongsToItsWord) {
  const std::vector<std::string> pieces = {"The", " \xe6", "\xbc\xa2", " was"};
  EXPECT_THAT(ClassifyTokens(pieces, Counts()),
              testing::ElementsAre(kCommonWord, kOtherLanguage, kOtherLanguage, kCommonWord));
}

TEST(WordCounts, RareMeansOnceOrTwentyAMillion) {
  WordCounts counts;
  std::string text = "Seldom SELDOM once";
  for (int i = 0; i < 150'000; ++i) text += " often";
  counts.Add(text);
  EXPECT_TRUE(counts.IsRare("once"));
  EXPECT_TRUE(counts.IsRare("never"));
  EXPECT_TRUE(counts.IsRare("seldom"));  // 2 of 150,003 is 13 a million
  EXPECT_FALSE(counts.IsRare("Often"));
}

}  // namespace
}  // namespace msa
