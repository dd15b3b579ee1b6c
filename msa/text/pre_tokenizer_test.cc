#include "msa/text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa {
namespace {

using ::testing::ElementsAre;

constexpr PreTokenizer kSmol = PreTokenizer::kSmolLM2;
constexpr PreTokenizer kLlama = PreTokenizer::kLlama3;
constexpr PreTokenizer kQwen = PreTokenizer::kQwen3;

std::vector<std::string> Split(PreTokenizer kind, std::string_view text) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const size_t length = NextPreToken(kind, text);
    pieces.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return pieces;
}

TEST(PreTokenizer, WordsTakeTheSpaceBeforeThem) {
  EXPECT_THAT(Split(kSmol, "Hello big  world "), ElementsAre("Hello", " big", " ", " world", " "));
  EXPECT_THAT(Split(kLlama, "Hello big  world "), ElementsAre("Hello", " big", " ", " world", " "));
}

TEST(PreTokenizer, DigitsStandAloneInThreesOrByThemselves) {
  EXPECT_THAT(Split(kSmol, "a 1234"), ElementsAre("a", " ", "1", "2", "3", "4"));
  EXPECT_THAT(Split(kLlama, "a 1234"), ElementsAre("a", " ", "123", "4"));
  EXPECT_THAT(Split(kQwen, "a 1234"), ElementsAre("a", " ", "1", "2", "3", "4"));
}

TEST(PreTokenizer, SmolLM2SeesADigitAsTheEndOfAText) {
  // No character of the run is kept for a word, as there would be before a letter.
  EXPECT_THAT(Split(kSmol, "x   7"), ElementsAre("x", "   ", "7"));
  EXPECT_THAT(Split(kSmol, "x   y"), ElementsAre("x", "  ", " y"));
  EXPECT_THAT(Split(kLlama, "x   7"), ElementsAre("x", "  ", " ", "7"));
}

TEST(PreTokenizer, ContractionsInEitherCaseButForSmolLM2) {
  EXPECT_THAT(Split(kSmol, "it's IT'S"), ElementsAre("it", "'s", " IT", "'", "S"));
  EXPECT_THAT(Split(kLlama, "we'LL go"), ElementsAre("we", "'LL", " go"));
  EXPECT_THAT(Split(kLlama, "x'\u017fy"), ElementsAre("x", "'\u017f", "y"));  // the long s
  EXPECT_THAT(Split(kLlama, "'really"), ElementsAre("'re", "ally"));
  EXPECT_THAT(Split(kLlama, "'zero"), ElementsAre("'zero"));
}

TEST(PreTokenizer, OneSymbolJoinsTheWordBehindInLlamaAndQwen) {
  EXPECT_THAT(Split(kQwen, "(foo) .bar"), ElementsAre("(foo", ")", " .", "bar"));
  EXPECT_THAT(Split(kSmol, "(foo) .bar"), ElementsAre("(", "foo", ")", " .", "bar"));
  EXPECT_THAT(Split(kQwen, "\tx"), ElementsAre("\tx"));
}

TEST(PreTokenizer, NewlinesJoinTheSymbolsOrTheSpacesBeforeThem) {
  EXPECT_THAT(Split(kLlama, "end.\n\nNext"), ElementsAre("end", ".\n\n", "Next"));
  EXPECT_THAT(Split(kLlama, "a \n \n  b"), ElementsAre("a", " \n \n", " ", " b"));
  EXPECT_THAT(Split(kSmol, "a \n \n  b"), ElementsAre("a", " \n \n ", " b"));
  EXPECT_THAT(Split(kLlama, "\r\nb"), ElementsAre("\r\n", "b"));
}

TEST(PreTokenizer, ClassesAreThoseOfTheRegularExpressionsUnicode) {
  // U+0085 and U+3000 are white space, U+200B and U+180E are none.
  EXPECT_THAT(Split(kSmol, "\u0085\u3000"), ElementsAre("\u0085\u3000"));
  EXPECT_THAT(Split(kSmol, "a\u200b"), ElementsAre("a", "\u200b"));
  EXPECT_THAT(Split(kSmol, "a\u180e"), ElementsAre("a", "\u180e"));
  // Marks are no letters; letter-like numbers are numbers.
  EXPECT_THAT(Split(kSmol, "e\u0301a"), ElementsAre("e", "\u0301", "a"));
  EXPECT_THAT(Split(kLlama, "\u2168\u00bd"), ElementsAre("\u2168\u00bd"));
  // A digit of Unicode 16, which only Rust knows: no number to the patterns.
  EXPECT_THAT(Split(kSmol, "!\U00011DE0!"), ElementsAre("!", "\U00011DE0", "!"));
  EXPECT_THAT(Split(kLlama, "!\U00011DE0!"), ElementsAre("!\U00011DE0!"));
}

TEST(PreTokenizer, ARunOfMegabytesIsOnePieceInLinearTime) {
  const std::string letters(4'000'000, 'a'), spaces(4'000'000, ' '), symbols(4'000'000, '-');
  for (const PreTokenizer kind : {kSmol, kLlama, kQwen}) {
    for (const std::string* text : {&letters, &spaces, &symbols}) {
      EXPECT_EQ(NextPreToken(kind, *text), text->size());
    }
  }
}

}  // namespace
}  // namespace msa
