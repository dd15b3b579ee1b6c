// Runs a program that we do not trust with our own process: a converter of files from anywhere.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/status.h"

namespace msa {

struct ProcessLimits {
  int seconds = 60;                         // of wall clock; also of processor time
  int64_t memory_bytes = int64_t{2} << 30;  // address space
  int64_t output_bytes = int64_t{64} << 20;
  const std::atomic<bool>* cancelled = nullptr;
};

struct ProcessOutput {
  std::string out;
  std::string err;      // the first 4 KiB
  int exit_status = 0;  // as the program returned it
};

// Runs argv[0] (looked up in PATH unless it holds a slash) without a shell: standard input empty,
// no files written, no core dumped, its whole process group killed at the end. Returns what it
// wrote and its exit status, whatever that is. Fails with kNotFound if there is no such program;
// kResourceExhausted if it passed a limit or died by a signal (the message says which); kCancelled.
// Any number of threads may call; each call starts one process and waits.
Result<ProcessOutput> RunLimited(const std::vector<std::string>& argv, const ProcessLimits& limits);

}  // namespace msa
