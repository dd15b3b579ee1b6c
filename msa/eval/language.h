// Language: what a memory that does not help costs the reader.
#pragma once

#include <cstdint>
#include <string>

#include "msa/engine/engine.h"
#include "msa/eval/metrics.h"

namespace msa {

struct LanguageOptions {
  EngineOptions engine;  // memory.passage_tokens: W
  int64_t sample = 256;  // passages
  uint64_t seed = 0;
};

// Nats a token, over the same tokens: all of each passage but its first.
struct LanguageReport {
  std::string corpus;
  int64_t passages = 0;
  int64_t tokens = 0;
  Estimate plain;       // no memory
  Estimate stranger;    // with the latents of a passage of another document
  Estimate difference;  // stranger - plain, passage by passage
};

// kInvalidArgument: a corpus with one document has no stranger.
Result<LanguageReport> EvaluateLanguage(const std::string& corpus, const LanguageOptions& options);

}  // namespace msa
