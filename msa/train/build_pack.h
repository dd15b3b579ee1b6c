// Makes a token pack out of JSONL: `msa train pack`.
//
// Inputs, plain or .zst (docs/pack-format.md has the fields): corpora of documents, and pairs of a
// question and the text that answers it. Corpora are read first, then pairs, each in the order
// given. What happens to a row:
//  - a document equal to one before it (words alone count), or most of whose 13-grams were seen, is
//    dropped;
//  - the text of a pair that the pack holds already, in a corpus or for another pair, is that
//    passage; else it becomes a document of its own;
//  - a passage that shares 13 words in a row with an evaluation set is dropped, and a pair of which
//    any text does, or whose question is one of theirs;
//  - passages of corpora get questions of their own (questions.h).
// The result depends on the inputs, their order and the seed alone, not on threads. Time is linear.
// Memory: the pack (2 bytes a token), about 5 bytes a word of what was seen, a batch of rows (tens
// of MB), and the lines of a source whose tokens are limited.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "msa/base/progress.h"
#include "msa/base/status.h"
#include "msa/text/tokenizer.h"
#include "msa/train/pack.h"
#include "msa/train/questions.h"

namespace msa {

struct PackOptions {
  std::string out;
  int64_t passage_tokens = 256;  // W
  std::vector<std::string> corpora;
  std::vector<std::string> pairs;
  std::vector<std::string> evaluation;  // folders
  uint64_t seed = 0;
  MadeShares made;
  // By source: take rows at random until their passages have this many tokens.
  std::map<std::string, int64_t> limit_tokens;
  int num_threads = 0;  // 0: one per core
  ProgressMode progress = ProgressMode::kAuto;
  const std::atomic<bool>* cancelled = nullptr;  // null: never
};

struct PackReport {
  int64_t passages = 0;
  int64_t documents = 0;
  int64_t tokens = 0;  // of passages
  int64_t questions = 0;
  int64_t question_tokens = 0;  // of questions and answers
  std::array<int64_t, kNumQuestionKinds> questions_by_kind = {};
  std::vector<PackSource> sources;
};

// kInvalidArgument names the file and line of a row that is not as it should be, an option out of
// range, two sources of one name; kCancelled leaves no file. kAlreadyExists never: `out` is
// replaced.
Result<PackReport> BuildPack(const Tokenizer& tokenizer, const PackOptions& options);

// "a/wiki.jsonl.zst" is "wiki".
std::string SourceName(const std::string& path);

}  // namespace msa
