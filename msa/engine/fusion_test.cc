#include "msa/engine/fusion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa {
namespace {

RankedList List(std::string head, double weight, std::vector<int64_t> ids) {
  RankedList list{std::move(head), weight, {}};
  for (const int64_t id : ids) list.passages.push_back(PassageId{id});
  return list;
}

std::vector<int64_t> Order(const std::vector<FusedPassage>& fused) {
  std::vector<int64_t> ids;
  for (const FusedPassage& f : fused) ids.push_back(f.passage.value);
  return ids;
}

TEST(FuseReciprocalRank, OneListKeepsItsOrder) {
  EXPECT_THAT(Order(FuseReciprocalRank({List("a", 1, {7, 3, 9})}, 10)),
              testing::ElementsAre(7, 3, 9));
}

TEST(FuseReciprocalRank, WeightZeroHasNoSay) {
  EXPECT_THAT(Order(FuseReciprocalRank({List("a", 1, {7, 3}), List("b", 0, {5, 3, 7})}, 10)),
              testing::ElementsAre(7, 3));
}

TEST(FuseReciprocalRank, AgreementBeatsOneFirstPlace) {
  EXPECT_THAT(Order(FuseReciprocalRank({List("a", 1, {1, 2}), List("b", 1, {3, 2})}, 10)),
              testing::ElementsAre(2, 1, 3));
}

TEST(FuseReciprocalRank, TiesGoToTheSmallerIdAndKCuts) {
  EXPECT_THAT(
      Order(FuseReciprocalRank({List("a", 1, {9}), List("b", 1, {4}), List("c", 1, {6})}, 2)),
      testing::ElementsAre(4, 6));
}

TEST(FuseReciprocalRank, ScoreIsTheWeightedSum) {
  const auto fused = FuseReciprocalRank({List("a", 2, {1}), List("b", 0.5, {8, 1})}, 1);
  ASSERT_EQ(fused.size(), 1u);
  EXPECT_DOUBLE_EQ(fused[0].score, 2 / 61.0 + 0.5 / 62.0);
}

}  // namespace
}  // namespace msa
