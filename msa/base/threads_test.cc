#include "msa/base/threads.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace msa {
namespace {

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunOnAllCallsEachThreadOnce) {
  ThreadPool pool(GetParam());
  ASSERT_EQ(pool.num_threads(), GetParam());
  std::vector<int> calls(static_cast<size_t>(GetParam()));
  for (int round = 0; round < 200; ++round) {
    pool.RunOnAll([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
  }
  EXPECT_EQ(calls, std::vector<int>(calls.size(), 200));
}

TEST_P(ThreadPoolTest, ParallelForCoversEveryIndexOnceInPiecesOfAtMostTheGrain) {
  ThreadPool pool(GetParam());
  for (const int64_t count : {0, 1, 6, 7, 8, 100, 1001}) {
    std::vector<int> seen(static_cast<size_t>(count));
    std::atomic<bool> sound = true;
    pool.ParallelFor(count, 7, [&](int64_t begin, int64_t end, int thread) {
      if (begin >= end || thread < 0 || thread >= GetParam()) sound = false;
      if (end - begin > 7) sound = sound && GetParam() == 1;
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    });
    EXPECT_TRUE(sound) << count;
    EXPECT_EQ(seen, std::vector<int>(seen.size(), 1)) << count;
  }
}

TEST_P(ThreadPoolTest, WritesOfOneRegionAreSeenInTheNext) {
  ThreadPool pool(GetParam());
  constexpr int64_t kCount = 512;
  std::vector<int64_t> a(kCount, 1), b(kCount);
  for (int round = 0; round < 100; ++round) {
    pool.ParallelFor(kCount, 16, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        b[static_cast<size_t>(i)] = a[static_cast<size_t>(kCount - 1 - i)] + 1;
      }
    });
    std::swap(a, b);
  }
  EXPECT_EQ(std::accumulate(a.begin(), a.end(), int64_t{0}), kCount * 101);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 5));

TEST(ThreadPool, WakesAfterItsWorkersWentToSleep) {
  ThreadPool pool(3);
  std::atomic<int> calls = 0;
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the spinning
    pool.RunOnAll([&](int) { ++calls; });
  }
  EXPECT_EQ(calls, 9);
}

TEST(ThreadPool, ZeroMeansTheCoresThisProcessMayUse) {
  EXPECT_GE(AvailableCores(), 1);
  EXPECT_EQ(ThreadPool(0).num_threads(), AvailableCores());
}

}  // namespace
}  // namespace msa
