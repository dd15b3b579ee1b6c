#include "msa/eval/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace msa {
namespace {

using Ranking = std::vector<std::string>;

TEST(Ndcg, EqualsTheSumByHand) {
  const Ranking ranking = {"x", "a", "y", "b"};
  const Relevance relevant = {{"a", 1}, {"b", 3}, {"c", 2}};
  // Gains at ranks 2 and 4; the best order would be b, c, a.
  const double gain = 1 / std::log2(3) + 3 / std::log2(5);
  const double ideal = 3 / std::log2(2) + 2 / std::log2(3) + 1 / std::log2(4);
  EXPECT_DOUBLE_EQ(Ndcg(ranking, relevant, 10), gain / ideal);
  EXPECT_DOUBLE_EQ(Ndcg(ranking, relevant, 2), (1 / std::log2(3)) / (3 + 2 / std::log2(3)));
  EXPECT_DOUBLE_EQ(Ndcg(Ranking{"b", "c", "a"}, relevant, 10), 1);
  EXPECT_DOUBLE_EQ(Ndcg({}, relevant, 10), 0);
}

TEST(Recall, CountsRelevantDocumentsWithinTheDepth) {
  const Ranking ranking = {"x", "a", "y", "b"};
  const Relevance relevant = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
  EXPECT_DOUBLE_EQ(Recall(ranking, relevant, 1), 0);
  EXPECT_DOUBLE_EQ(Recall(ranking, relevant, 2), 0.25);
  EXPECT_DOUBLE_EQ(Recall(ranking, relevant, 100), 0.5);
}

TEST(ReciprocalRank, IsOfTheFirstRelevantDocument) {
  EXPECT_DOUBLE_EQ(ReciprocalRank(Ranking{"x", "a", "b"}, {{"a", 1}, {"b", 1}}), 0.5);
  EXPECT_DOUBLE_EQ(ReciprocalRank(Ranking{"x"}, {{"a", 1}}), 0);
}

TEST(LargestHub, IsWhatStandsFirstMostOften) {
  const std::vector<Ranking> rankings = {{"b", "a"}, {"a"}, {"b"}, {}, {"a", "b"}};
  const Hub hub = LargestHub(rankings);
  EXPECT_EQ(hub.document, "a");  // a tie goes to the smaller id
  EXPECT_DOUBLE_EQ(hub.share, 0.4);
}

TEST(RatioEstimate, OfEqualWeightsIsTheMeanAndItsError) {
  const std::vector<double> values = {1, 2, 3, 6};
  const std::vector<double> ones(4, 1.0);
  const Estimate estimate = RatioEstimate(values, ones);
  EXPECT_DOUBLE_EQ(estimate.mean, 3);
  // Sample variance (4 + 1 + 0 + 9) / 3, over n = 4.
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::sqrt(14.0 / 3 / 4));
}

TEST(RatioEstimate, OfProportionalValuesHasNoError) {
  const std::vector<double> weights = {10, 30, 5};
  const std::vector<double> values = {20, 60, 10};
  const Estimate estimate = RatioEstimate(values, weights);
  EXPECT_DOUBLE_EQ(estimate.mean, 2);
  EXPECT_DOUBLE_EQ(estimate.standard_error, 0);
}

TEST(Answers, AreComparedAsSquadDoes) {
  EXPECT_EQ(NormaliseAnswer("  The  Eiffel-Tower, in \"Paris\"! "), "eiffeltower in paris");
  const std::vector<std::string> expected = {"Saint Bernadette Soubirous", "Bernadette"};
  EXPECT_TRUE(ExactMatch("the bernadette.", expected));
  EXPECT_FALSE(ExactMatch("Saint Bernadette", expected));
  // Two of two words said, two of three expected: 2 * 1 * (2/3) / (1 + 2/3).
  EXPECT_DOUBLE_EQ(AnswerF1("Saint Bernadette", expected), 0.8);
  // A word said twice counts once where it is expected once.
  EXPECT_DOUBLE_EQ(AnswerF1("Bernadette Bernadette", {{"Bernadette"}}), 2.0 / 3);
  EXPECT_DOUBLE_EQ(AnswerF1("nobody", expected), 0);
}

}  // namespace
}  // namespace msa
