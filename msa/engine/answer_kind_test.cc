#include "msa/engine/answer_kind.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "msa/engine/cite.h"

namespace msa {
namespace {

bool Holds(std::string_view question, std::string_view text) {
  std::vector<std::string> terms = ContentTerms(question);
  std::sort(terms.begin(), terms.end());
  return HoldsAnswer(AskedFor(question), text, terms);
}

TEST(AskedFor, QuestionWordsTell) {
  EXPECT_EQ(AskedFor("Who wrote it?"), AnswerKind::kName);
  EXPECT_EQ(AskedFor("WHERE is it?"), AnswerKind::kName);
  EXPECT_EQ(AskedFor("In which year was it?"), AnswerKind::kNumber);
  EXPECT_EQ(AskedFor("In which city was it?"), AnswerKind::kName);
  EXPECT_EQ(AskedFor("Which tool names the city?"), AnswerKind::kAny);
  EXPECT_EQ(AskedFor("How many are there?"), AnswerKind::kNumber);
  EXPECT_EQ(AskedFor("How is it built?"), AnswerKind::kAny);
  EXPECT_EQ(AskedFor("Which tool does it?"), AnswerKind::kAny);
  EXPECT_EQ(AskedFor(""), AnswerKind::kAny);
}

TEST(WithoutAskedKind, LeavesOutWhatTheAnswerReplaces) {
  EXPECT_EQ(WithoutAskedKind("In which month and year was it?"), "In which  and  was it?");
  EXPECT_EQ(WithoutAskedKind("What year saw the year of the dog?"),
            "What  saw the year of the dog?");
  EXPECT_EQ(WithoutAskedKind("In which city did it begin?"), "In which  did it begin?");
  EXPECT_EQ(WithoutAskedKind("How many days has a year?"), "How many days has a year?");
  EXPECT_EQ(WithoutAskedKind("Which tool tells the date?"), "Which tool tells the date?");
}

TEST(BeginsWithQuestionWord, FirstOrAfterOneWord) {
  EXPECT_TRUE(BeginsWithQuestionWord("Who founded Debian?"));
  EXPECT_TRUE(BeginsWithQuestionWord("By whom was Debian founded?"));
  EXPECT_TRUE(BeginsWithQuestionWord("what"));
  EXPECT_FALSE(BeginsWithQuestionWord("Debian was founded by whom?"));
  EXPECT_FALSE(BeginsWithQuestionWord("Name the founder of Debian."));
  EXPECT_FALSE(BeginsWithQuestionWord(""));
}

TEST(HoldsAnswer, ANameIsCapitalisedInsideASentence) {
  EXPECT_TRUE(Holds("Who founded Debian?", "Debian was begun by Murdock."));
  EXPECT_TRUE(Holds("Who is the author of bzip2?", "AUTHOR\nJulian Seward, j@acm.org"));
  EXPECT_FALSE(Holds("Who founded Debian?", "Founders come. They founded Debian."));
  EXPECT_FALSE(Holds("Who is the author?", "THIS SOFTWARE IS PROVIDED BY THE AUTHOR"));
}

TEST(HoldsAnswer, ANumberIsOneThatTheQuestionDoesNotSay) {
  EXPECT_TRUE(Holds("When was Debian 2.2 released?", "Debian 2.2 came on August 15th."));
  EXPECT_FALSE(Holds("When was version 2 released?", "Version 2 was released late."));
  EXPECT_TRUE(Holds("How long does it last?", "It lasts one year."));
}

TEST(HoldsAnswer, EveryTextHoldsAny) {
  EXPECT_TRUE(Holds("Which tool does it?", "none"));
  EXPECT_TRUE(Holds("Which tool does it?", ""));
  EXPECT_FALSE(Holds("Who?", ""));
}

}  // namespace
}  // namespace msa
