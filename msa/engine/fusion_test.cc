#include "msa/engine/fusion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace msa {
namespace {

using Hits = std::vector<std::pair<int64_t, float>>;

RankedList List(double weight, const Hits& hits) {
  RankedList list{weight, {}};
  for (const auto& [id, score] : hits) list.hits.push_back({PassageId{id}, score});
  return list;
}

std::vector<int64_t> Order(const std::vector<FusedPassage>& fused) {
  std::vector<int64_t> ids;
  for (const FusedPassage& f : fused) ids.push_back(f.passage.value);
  return ids;
}

TEST(FuseScores, OneListKeepsItsOrderBeyondTheDepthToo) {
  Hits hits;
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 3 * kFusionDepth; ++i) {
    ids.push_back(1000 - i);
    hits.emplace_back(ids.back(), 0.5f - 0.001f * static_cast<float>(i));
  }
  EXPECT_THAT(Order(FuseScores({List(1, hits)}, 1000)), testing::ElementsAreArray(ids));
}

TEST(FuseScores, WeightZeroAndAnEmptyListHaveNoSay) {
  EXPECT_THAT(
      Order(FuseScores({List(1, {{7, 2}, {3, 1}}), List(0, {{5, 9}, {3, 8}}), List(1, {})}, 10)),
      testing::ElementsAre(7, 3));
}

TEST(FuseScores, AgreementBeatsOneFirstPlace) {
  EXPECT_THAT(Order(FuseScores({List(1, {{1, 10}, {2, 9}}), List(1, {{3, .8f}, {2, .7f}})}, 10)),
              testing::ElementsAre(2, 3, 1));
}

TEST(FuseScores, WhatStandsOutCountsMoreThanItsRank) {
  // Both heads put one passage first: the first head by far, the other by a hair.
  EXPECT_THAT(Order(FuseScores({List(1, {{1, 30}, {2, 3}, {4, 3}, {5, 3}, {6, 3}}),
                                List(1, {{2, .52f}, {4, .51f}, {5, .51f}, {1, .5f}, {6, .5f}})},
                               1)),
              testing::ElementsAre(1));
}

TEST(FuseScores, UnitsOfAHeadDoNotMatter) {
  const Hits hits = {{1, 3}, {2, 2}, {3, 1}};
  const Hits scaled = {{1, 300}, {2, 200}, {3, 100}};
  const auto other = List(1, {{3, .9f}, {1, .1f}});
  const auto a = FuseScores({List(1, hits), other}, 10);
  const auto b = FuseScores({List(1, scaled), other}, 10);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].score, b[i].score, 1e-4);
}

TEST(FuseScores, TiesGoToTheSmallerIdAndKCuts) {
  EXPECT_THAT(Order(FuseScores({List(1, {{9, 2}}), List(1, {{4, 5}}), List(1, {{6, 1}})}, 2)),
              testing::ElementsAre(4, 6));
}

TEST(FuseScores, ScoreIsTheWeightedSumOfStandardisedScores) {
  // One hit of 100: mean s / 100, mean square s^2 / 100.
  const double unit = 1 / std::sqrt(1 / 100.0 - 1 / 10000.0);
  const auto fused = FuseScores({List(2, {{1, 8}}), List(0.5, {{1, .3f}})}, 1);
  ASSERT_EQ(fused.size(), 1u);
  EXPECT_NEAR(fused[0].score, 2.5 * unit, 1e-6);
}

}  // namespace
}  // namespace msa
