#include "msa/engine/question_gain.h"

#include <gtest/gtest.h>

#include <vector>

#include "msa/engine/engine.h"

namespace msa {
namespace {

class QuestionGainTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = DefaultModelPath();
    if (!path.ok()) GTEST_SKIP() << path.status();
    auto model = MemoryModel::Load(*path, "", {}, {});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = std::move(model).value();
  }

  std::unique_ptr<MemoryModel> model_;
};

constexpr std::string_view kQuestion =
    "My sister has had a stroke and cannot speak any more. Whom does the family ask to be allowed "
    "to pay her rent and bills from her savings?";
constexpr SourcePassage kAnswer = {
    "Deputies",
    "Someone who has had a stroke may not be able to speak for themselves. Relatives, such as a "
    "brother or sister, can then apply to become a deputy, who pays for what the person needs, "
    "such as care and housing, out of that person's savings. The Court of Protection decides who "
    "becomes one."};
constexpr SourcePassage kOther = {
    "Tea", "Green tea is steeped at 80 degrees Celsius for two minutes, black tea for longer."};

TEST_F(QuestionGainTest, APassageIsAboutItsQuestionWhereWordsDoNotTell) {
  const std::vector<SourcePassage> sources = {kOther, kAnswer};
  const SupportFinder finder(kQuestion, sources);
  const std::vector<Support> supports = finder.Find("The Court of Protection");
  ASSERT_EQ(supports.size(), 1u);
  EXPECT_FALSE(supports[0].is_about);
  QuestionGain gain(*model_, kQuestion, sources);
  const auto other = gain.IsAbout(0);
  const auto answer = gain.IsAbout(1);
  ASSERT_TRUE(other.ok() && answer.ok());
  EXPECT_FALSE(*other);
  EXPECT_TRUE(*answer);
}

TEST_F(QuestionGainTest, AsksOfFourPassagesAndRemembersThem) {
  const std::vector<SourcePassage> sources = {kAnswer, kOther, kOther, kOther, kAnswer};
  QuestionGain gain(*model_, kQuestion, sources);
  for (const int64_t passage : {0, 1, 2, 3}) {
    EXPECT_EQ(gain.IsAbout(passage).value(), passage == 0);
  }
  EXPECT_FALSE(gain.IsAbout(4).value()) << "one too many";
  EXPECT_TRUE(gain.IsAbout(0).value());
}

TEST_F(QuestionGainTest, NoPassageIsAboutAQuestionBeyondTheContext) {
  std::string endless;
  while (std::ssize(endless) < 8 * model_->backbone().context_tokens) endless += "heron ";
  const std::vector<SourcePassage> sources = {{"", "A heron is a bird."}};
  EXPECT_FALSE(QuestionGain(*model_, endless, sources).IsAbout(0).value());
}

}  // namespace
}  // namespace msa
