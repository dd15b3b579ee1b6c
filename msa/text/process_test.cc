#include "msa/text/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "msa/base/file.h"
#include "msa/text/test_support.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

Result<ProcessOutput> Shell(const std::string& script, const ProcessLimits& limits = {}) {
  return RunLimited({"/bin/sh", "-c", script}, limits);
}

TEST(RunLimited, GivesOutputAndExitStatus) {
  const auto run = Shell("echo out; echo err >&2; exit 3");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->out, "out\n");
  EXPECT_EQ(run->err, "err\n");
  EXPECT_EQ(run->exit_status, 3);
}

TEST(RunLimited, PassesArgumentsWithoutAShell) {
  const auto run = RunLimited({"echo", "$HOME;", "`id`", "a b"}, {});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->out, "$HOME; `id` a b\n");
}

TEST(RunLimited, NamesAMissingProgram) {
  const auto run = RunLimited({"/no/such/program"}, {});
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(run.status().message(), HasSubstr("/no/such/program"));
}

TEST(RunLimited, StandardInputIsEmpty) {
  const auto run = Shell("cat; echo end");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->out, "end\n");
}

TEST(RunLimited, WritesNoFiles) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/file";
  EXPECT_FALSE(Shell("echo text > " + path).ok());
  EXPECT_EQ(ReadFile(path).value(), "");
}

TEST(RunLimited, StopsAProgramThatHangs) {
  ProcessLimits limits;
  limits.seconds = 1;
  const auto begin = std::chrono::steady_clock::now();
  for (const char* script : {"sleep 60", "exec >&- 2>&-; sleep 60", "while :; do :; done"}) {
    SCOPED_TRACE(script);
    const auto run = Shell(script, limits);
    ASSERT_FALSE(run.ok());
    EXPECT_EQ(run.status().code(), StatusCode::kResourceExhausted);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

// Whether a process runs; one that ended but was not reaped by its parent does not.
bool IsRunning(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string stat;
  return std::getline(file, stat) && stat.find(") Z") == std::string::npos;
}

TEST(RunLimited, StopsWhatTheProgramStarted) {
  const auto run = Shell("sleep 60 >/dev/null 2>&1 & echo $!");
  ASSERT_TRUE(run.ok()) << run.status();
  const std::string pid = run->out.substr(0, run->out.find('\n'));
  ASSERT_FALSE(pid.empty());
  for (int i = 0; i < 500 && IsRunning(pid); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(IsRunning(pid));
}

TEST(RunLimited, BoundsMemory) {
  ProcessLimits limits;
  limits.memory_bytes = 256 << 20;
  // The variable doubles until memory ends.
  const auto run = Shell("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", limits);
  EXPECT_TRUE(!run.ok() || run->exit_status != 0);
}

TEST(RunLimited, BoundsOutput) {
  ProcessLimits limits;
  limits.output_bytes = 100000;
  const auto run = Shell("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", limits);
  ASSERT_FALSE(run.ok());
  EXPECT_THAT(run.status().message(), HasSubstr("more than 100000 bytes"));
}

TEST(RunLimited, KeepsOnlyTheBeginningOfErrors) {
  const auto run = Shell("i=0; while [ $i -lt 3000 ]; do echo complaint >&2; i=$((i+1)); done");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->err.size(), 4096u);
}

TEST(RunLimited, CanBeCancelled) {
  std::atomic<bool> cancelled = false;
  ProcessLimits limits;
  limits.cancelled = &cancelled;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancelled = true;
  });
  const auto run = Shell("sleep 60", limits);
  canceller.join();
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace msa
