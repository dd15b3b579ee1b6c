#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "msa/text/passages.h"
#include "msa/text/test_support.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Sentences(std::string_view text) {
  std::vector<std::string> sentences;
  for (const TextSpan& span : SplitSentences(text)) {
    sentences.emplace_back(
        text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)));
  }
  return sentences;
}

TEST(SplitSentences, EndsAtStops) {
  EXPECT_THAT(Sentences("One. Two!  Three? Four"), ElementsAre("One.", "Two!", "Three?", "Four"));
  EXPECT_THAT(Sentences("Really?! Yes... maybe. No… Never."),
              ElementsAre("Really?!", "Yes... maybe.", "No…", "Never."));
  EXPECT_THAT(Sentences("It ended in 1999. Then came 2000. 42 followed."),
              ElementsAre("It ended in 1999.", "Then came 2000.", "42 followed."));
  EXPECT_THAT(Sentences(""), IsEmpty());
  EXPECT_THAT(Sentences(" \n\n "), IsEmpty());
}

TEST(SplitSentences, KeepsQuotesBracketsAndNotesWithTheirSentence) {
  EXPECT_THAT(Sentences("He said \"no.\" She left. (It rained.) “Yes.” Then"),
              ElementsAre("He said \"no.\"", "She left.", "(It rained.)", "“Yes.”", "Then"));
  EXPECT_THAT(Sentences("It was built in 1900.[12][3] It burned."),
              ElementsAre("It was built in 1900.[12][3]", "It burned."));
}

TEST(SplitSentences, AbbreviationsDoNotEnd) {
  for (const char* text :
       {"Dr. Smith met Prof. Jones.", "Use tools, e.g. Vim, or others.", "See Fig. 3 and No. 5.",
        "J. R. R. Tolkien wrote it.", "The U.S. Navy came.", "Acme Inc. Chairman Bob spoke.",
        "Smith et al. Proposed names.", "Pi is 3.14 or so.", "Version 2.0.1 is out.",
        "Visit www.example.com. or not", "It is, i.e. The End, a film.", "at 5 p.m. Eastern time",
        "from Sept. 3 to Oct. 4", "Mt. Everest, St. Louis, vs. Them"}) {
    EXPECT_THAT(Sentences(text), ElementsAre(text));
  }
}

TEST(SplitSentences, AbbreviationsMayEndBeforeAUsualBeginning) {
  EXPECT_THAT(Sentences("He lives in the U.S. He works at Acme Inc. The pay is good."),
              ElementsAre("He lives in the U.S.", "He works at Acme Inc.", "The pay is good."));
  EXPECT_THAT(Sentences("This is Plan B. The first failed. No. It did not."),
              ElementsAre("This is Plan B.", "The first failed.", "No.", "It did not."));
}

TEST(SplitSentences, FullStopsOfOtherScripts) {
  EXPECT_THAT(Sentences("これは本です。あれは？はい！「そう。」次"),
              ElementsAre("これは本です。", "あれは？", "はい！", "「そう。」", "次"));
  EXPECT_THAT(Sentences("यह एक है। वह दो है।"), ElementsAre("यह एक है।", "वह दो है।"));
  EXPECT_THAT(Sentences("Это было. Потом стало. и дальше"),
              ElementsAre("Это было.", "Потом стало. и дальше"));
}

TEST(SplitSentences, ABlankLineEnds) {
  EXPECT_THAT(Sentences("A title\n\nSome text\n  \nmore"),
              ElementsAre("A title", "Some text", "more"));
}

TEST(SplitSentences, WrappedLinesAreOneSentence) {
  EXPECT_THAT(
      Sentences("The memory encoder compresses each document, on its own, into\n"
                "latents by learned pooling. Sparse attention then routes over the\nwhole bank."),
      ElementsAre("The memory encoder compresses each document, on its own, into\n"
                  "latents by learned pooling.",
                  "Sparse attention then routes over the\nwhole bank."));
}

TEST(SplitSentences, OtherLineEndsAreMeant) {
  // Too short to be wrapped; a line that had room for the next word; lines that were never wrapped.
  EXPECT_THAT(Sentences("Roses are red\nViolets are blue"),
              ElementsAre("Roses are red", "Violets are blue"));
  EXPECT_THAT(
      Sentences("A short line\nfollowed by a much longer line that goes on to column 60"),
      ElementsAre("A short line", "followed by a much longer line that goes on to column 60"));
  const std::string longer(150, 'x');
  EXPECT_THAT(Sentences(longer + "\n" + longer), ElementsAre(longer, longer));
}

TEST(SplitSentences, ListItemsHeadingsAndRowsStandAlone) {
  EXPECT_THAT(
      Sentences("# Install the program\nGet these:\n- first item\n- second. It is long\n"
                "1. Do this\n2) Do that\n(a) Or that\n• bullet\n| a | b |\n> quoted"),
      ElementsAre("# Install the program", "Get these:", "- first item", "- second.", "It is long",
                  "1. Do this", "2) Do that", "(a) Or that", "• bullet", "| a | b |", "> quoted"));
}

TEST(SplitSentences, LinesOfCodeStandAlone) {
  EXPECT_THAT(Sentences("Run it:\n```sh\nls . Then\n\n  cd /tmp\n```\nDone. Bye."),
              ElementsAre("Run it:", "```sh", "ls . Then", "cd /tmp", "```", "Done.", "Bye."));
}

TEST(SplitSentences, DotLeadersAreNoSentences) {
  EXPECT_THAT(Sentences("Introduction . . . . . . 5"), ElementsAre("Introduction . . . . . . 5"));
  EXPECT_THAT(Sentences("It was spaced . Then it went on ."),
              ElementsAre("It was spaced .", "Then it went on ."));
}

TEST(SplitSentences, SpansHoldEverythingButTheWhiteSpaceBetween) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::string text = testing::RandomText(&random, random() % 120, seed % 2 == 0);
    size_t end = 0;
    for (const TextSpan& span : SplitSentences(text)) {
      const auto begin = static_cast<size_t>(span.begin);
      ASSERT_GE(begin, end);
      ASSERT_EQ(SkipSpace(text, end), begin) << "more than white space lies between";
      end = static_cast<size_t>(span.end);
      ASSERT_GT(end, begin);
      ASSERT_LE(end, text.size());
      ASSERT_EQ(TrimEnd(text, begin, end), end);
      if (seed % 2 == 1) {
        ASSERT_EQ(AlignToCharacter(text, begin), begin);
        ASSERT_EQ(AlignToCharacter(text, end), end);
      }
    }
    ASSERT_EQ(SkipSpace(text, end), text.size());
  }
}

}  // namespace
}  // namespace msa
