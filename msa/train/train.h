// Trains an adapter: phases of steps over a pack, with a log, checkpoints, validation and curves.
// libtorch stays out of this header.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "msa/base/progress.h"
#include "msa/base/status.h"
#include "msa/train/train_config.h"

namespace msa {

struct TrainReport {
  int64_t steps = 0;
  int64_t passage_tokens = 0;  // encoded
  int64_t reader_tokens = 0;
  double seconds = 0;                   // of the steps alone
  std::map<std::string, double> check;  // of the last validation
  std::string adapter;                  // path
  bool cancelled = false;
};

struct TrainRunOptions {
  bool resume = true;  // from the checkpoint in the output folder, if there is one
  std::string start;   // else from the values of this checkpoint or adapter; empty: anew
  ProgressMode progress = ProgressMode::kAuto;
  const std::atomic<bool>* cancelled = nullptr;
};

// Runs the steps that are left. kFailedPrecondition: pack, teacher or checkpoint were made for
// something else. kInternal: a loss or a gradient is not finite; the last good checkpoint stays.
Result<TrainReport> TrainAdapter(const TrainConfig& config, const TrainRunOptions& options);

}  // namespace msa
