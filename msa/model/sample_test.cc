#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

#include "msa/model/memory_model.h"

namespace msa {
namespace {

// Probabilities 4/8, 2/8, 1/8, 1/8 at temperature 1.
const std::array<float, 4> kLogits = {std::log(2.0f), std::log(4.0f), 0, 0};

std::map<TokenId, int> Draw(const SamplingOptions& options, int draws) {
  std::map<TokenId, int> counts;
  for (int step = 0; step < draws; ++step)
    ++counts[MemoryModel::Sample(kLogits, options, static_cast<uint64_t>(step))];
  return counts;
}

TEST(Sample, TemperatureZeroTakesTheBest) {
  EXPECT_EQ(MemoryModel::Sample(kLogits, {.temperature = 0, .seed = 3}, 5), 1);
}

TEST(Sample, EqualLogitsGoToTheSmallerId) {
  const std::array<float, 3> equal = {1, 2, 2};
  EXPECT_EQ(MemoryModel::Sample(equal, {}, 0), 1);
  EXPECT_EQ(MemoryModel::Sample(equal, {.temperature = 1, .top_k = 1}, 0), 1);
}

TEST(Sample, FollowsTheProbabilities) {
  const auto counts = Draw({.temperature = 1, .seed = 7}, 8000);
  // Five standard deviations of a binomial with 8000 draws are at most 224.
  EXPECT_NEAR(counts.at(1), 4000, 224);
  EXPECT_NEAR(counts.at(0), 2000, 194);
  EXPECT_NEAR(counts.at(2), 1000, 148);
  EXPECT_NEAR(counts.at(3), 1000, 148);
}

TEST(Sample, LowTemperatureSharpens) {
  // At 1/2 the probabilities are 16, 4, 1, 1 of 22.
  EXPECT_NEAR(Draw({.temperature = 0.5, .seed = 7}, 8000).at(1), 5818, 200);
}

TEST(Sample, TopKKeepsTheLikeliest) {
  const auto counts = Draw({.temperature = 1, .top_k = 2}, 1000);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(0) && counts.contains(1));
}

TEST(Sample, TopPKeepsTheFewestThatReachIt) {
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.4}, 1000).size(), 1u);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.7}, 1000).size(), 2u);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.8}, 1000).size(), 3u);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0}, 1000).size(), 1u);
}

TEST(Sample, SeedAndStepDecide) {
  const SamplingOptions options = {.temperature = 1, .seed = 11};
  EXPECT_EQ(Draw(options, 200), Draw(options, 200));
  EXPECT_NE(Draw(options, 200), Draw({.temperature = 1, .seed = 12}, 200));
}

}  // namespace
}  // namespace msa
