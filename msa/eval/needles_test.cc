#include "msa/eval/needles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace msa {
namespace {

using testing::HasSubstr;

constexpr NeedleKind kAllKinds[] = {NeedleKind::kFact, NeedleKind::kManyKeys,
                                    NeedleKind::kManyValues, NeedleKind::kCombined};

TEST(MakeNeedle, TheSameForASeedAndFilledIn) {
  for (const NeedleKind kind : kAllKinds) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
      std::mt19937_64 random(seed), again(seed);
      const Needle needle = MakeNeedle(kind, random);
      EXPECT_EQ(needle.sentences, MakeNeedle(kind, again).sentences);
      std::string all = needle.question;
      for (const auto& list : {needle.sentences, needle.distractors, needle.answers}) {
        for (const std::string& text : list) all += text;
      }
      EXPECT_THAT(all, testing::Not(HasSubstr("{")));
      // The question does not give the answer away, nor does a distractor.
      for (const std::string& answer : needle.answers) {
        EXPECT_THAT(needle.question, testing::Not(HasSubstr(answer)));
        for (const std::string& other : needle.distractors) {
          EXPECT_THAT(other, testing::Not(HasSubstr(answer)));
        }
      }
    }
  }
}

TEST(MakeNeedle, EachKindNeedsWhatItsNameSays) {
  std::mt19937_64 random(3);
  const Needle fact = MakeNeedle(NeedleKind::kFact, random);
  ASSERT_EQ(fact.sentences.size(), 1u);
  EXPECT_THAT(fact.sentences[0], HasSubstr(fact.answers.at(0)));
  EXPECT_TRUE(fact.distractors.empty());

  const Needle keys = MakeNeedle(NeedleKind::kManyKeys, random);
  EXPECT_EQ(keys.sentences.size(), 1u);
  EXPECT_EQ(keys.distractors.size(), 6u);

  const Needle values = MakeNeedle(NeedleKind::kManyValues, random);
  ASSERT_EQ(values.sentences.size(), 3u);
  EXPECT_EQ(std::set<std::string>(values.answers.begin(), values.answers.end()).size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_THAT(values.sentences[i], HasSubstr(values.answers[i]));

  const Needle combined = MakeNeedle(NeedleKind::kCombined, random);
  ASSERT_EQ(combined.sentences.size(), 2u);
  EXPECT_THAT(combined.sentences[1], HasSubstr(combined.answers.at(0)));
  EXPECT_THAT(combined.sentences[0], testing::Not(HasSubstr(combined.answers[0])));
}

TEST(PlaceSentences, PutsEachBetweenSentencesAtItsShareOfTheBytes) {
  std::vector<EvalDocument> documents = {{"1", "", "One here. Two here."}, {"2", "", "Three now."}};
  PlaceSentences({{1, "Last."}, {0, "First."}, {0.3, "Middle."}}, &documents);
  EXPECT_EQ(documents[0].text, "First. One here. Middle. Two here.");
  EXPECT_EQ(documents[1].text, "Three now. Last. ");
}

TEST(PlaceSentences, LosesNoneWhereverTheyGo) {
  std::vector<EvalDocument> documents;
  for (int i = 0; i < 7; ++i) documents.push_back({std::to_string(i), "", "A sentence. Another."});
  std::vector<Placed> placed;
  for (int i = 0; i <= 100; ++i) placed.push_back({i / 100.0, "Needle " + std::to_string(i) + "."});
  PlaceSentences(placed, &documents);
  std::string all;
  for (const EvalDocument& document : documents) all += document.text;
  size_t at = 0;
  for (const Placed& p : placed) {
    at = all.find(p.sentence, at);  // in the order of their positions
    ASSERT_NE(at, std::string::npos) << p.sentence;
  }
}

TEST(NeedlePosition, SpansTheWhole) {
  EXPECT_EQ(NeedlePosition(0, 11), 0);
  EXPECT_EQ(NeedlePosition(10, 11), 1);
  EXPECT_EQ(NeedlePosition(0, 1), 0.5);
}

}  // namespace
}  // namespace msa
