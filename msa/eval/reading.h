// Reading: what latents are worth to the answer of a question, beside the text itself.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "msa/engine/engine.h"
#include "msa/eval/data.h"
#include "msa/eval/metrics.h"

namespace msa {

// What the reader has beside the question.
enum class Given { kNothing, kStranger, kLatents, kText, kBoth };
inline constexpr int kGivens = 5;
inline constexpr std::array<std::string_view, kGivens> kGivenNames = {
    "nothing", "stranger's latents", "latents", "text", "text and latents"};

struct ReadingOptions {
  EngineOptions engine;
  int64_t sample = 200;  // questions
  uint64_t seed = 0;
  // Which passages a question is given: those that these heads rank first among the whole set, or
  // those of the documents that another system ranks first (a file, see ReadRankings), or else
  // those of the relevant documents.
  std::optional<Heads> heads;
  int64_t hops = 1;  // of the heads' ranking, engine/hop.h
  std::string ranking;
  int64_t k = 0;  // passages at most; 0: as many as an answer selects
  // Text alone is read by the adapter's reader, not by the backbone: for a peer that was trained on
  // text (`"attach": 0`).
  bool reader_of_text = false;
  bool generate = false;    // greedy answers too
  int64_t max_tokens = 32;  // of such an answer
};

struct ReadingFigures {
  Estimate nats;           // an answer token
  double exact_match = 0;  // with `generate`, shares of the questions
  double f1 = 0;
};

struct ReadingReport {
  std::string set;
  int64_t questions = 0;
  int64_t answer_tokens = 0;
  bool generated = false;
  std::array<ReadingFigures, kGivens> figures;
  Estimate latents_gain;  // nats: stranger - latents, question by question
  Estimate both_gain;     // text - both
};

// Takes the questions of `set` that have an answer. kInvalidArgument: there is none, or all are
// about the same documents, so that nobody is a stranger.
Result<ReadingReport> EvaluateReading(const EvalSet& set, const ReadingOptions& options);

}  // namespace msa
