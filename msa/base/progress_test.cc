#include "msa/base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa {
namespace {

using ::testing::MatchesRegex;

// What `f` writes to stderr, which is a file while it is captured and so no terminal.
template <class F>
std::string Stderr(F f) {
  ::testing::internal::CaptureStderr();
  f();
  return ::testing::internal::GetCapturedStderr();
}

TEST(HumanCount, KeepsThreeOrFourDigits) {
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(812), "812");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(1000), "1.0K");
  EXPECT_EQ(HumanCount(34'521), "34.5K");
  EXPECT_EQ(HumanCount(999'949), "999.9K");
  EXPECT_EQ(HumanCount(999'999), "1.0M");
  EXPECT_EQ(HumanCount(1.2e6), "1.2M");
  EXPECT_EQ(HumanCount(5e12), "5.0T");
  EXPECT_EQ(HumanCount(5e16), "50000.0T");
}

TEST(HumanBytes, CountsInPowersOfAThousand) {
  EXPECT_EQ(HumanBytes(812), "812 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 kB");
  EXPECT_EQ(HumanBytes(12'000'000), "12.0 MB");
  EXPECT_EQ(HumanBytes(1.3e9), "1.3 GB");
}

TEST(Progress, EndsWithOneLineOfWhatWasDone) {
  const std::string text = Stderr([] {
    Progress progress("Reading", "documents", 1500, ProgressMode::kAuto);
    progress.Add(1000);
    progress.Add(500);
    progress.Finish();
    progress.Finish();
  });
  EXPECT_THAT(text, MatchesRegex("Reading: 1.5K of 1.5K documents, [0-9.]+[KMGT]?/s, 0s\n"));
}

TEST(Progress, AnUnknownTotalIsNotShown) {
  const std::string text = Stderr([] {
    Progress progress("Encoding", "tokens", 0, ProgressMode::kAuto);
    progress.Add(7);
  });
  EXPECT_THAT(text, MatchesRegex("Encoding: 7 tokens, [0-9.]+[KMGT]?/s, 0s\n"));
}

TEST(Progress, ATotalThatWasTooSmallGrows) {
  const std::string text = Stderr([] {
    Progress progress("Encoding", "tokens", 5, ProgressMode::kAuto);
    progress.Add(7);
  });
  EXPECT_THAT(text, MatchesRegex("Encoding: 7 of 7 tokens, .*\n"));
}

TEST(Progress, IsSilentWhenOffOrWhenNothingHappened) {
  EXPECT_EQ(Stderr([] { Progress("a", "b", 5, ProgressMode::kOff).Add(5); }), "");
  EXPECT_EQ(Stderr([] { Progress("a", "b", 5, ProgressMode::kAuto).Finish(); }), "");
}

}  // namespace
}  // namespace msa
