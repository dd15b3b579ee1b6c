// What evaluation reads: sets of documents, questions and relevance, pairs, and corpora, as JSON
// Lines, plain or compressed with zstd. docs/evaluation.md lists the fields.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "msa/base/function_ref.h"
#include "msa/base/status.h"
#include "msa/text/tokenizer.h"

namespace msa {

struct EvalDocument {
  std::string id;
  std::string title;  // empty: none
  std::string text;
};

struct EvalQuestion {
  std::string id;
  std::string text;
  std::vector<std::string> answers;        // those that are not empty
  std::map<std::string, double> relevant;  // document id to relevance, above 0
};

struct EvalSet {
  std::string name;
  std::vector<EvalDocument> documents;
  std::vector<EvalQuestion> questions;
};

// Each row of `path` (.jsonl, or .jsonl.zst with a window of up to 128 MB) as an object; `on_row`
// returns false to stop. kDataLoss names file and line of a row that is no JSON object.
Status ReadRows(const std::string& path, FunctionRef<bool(const nlohmann::json& row)> on_row);

// A folder with docs, queries and qrels, or a file of pairs {"query", "positive", "answer"?}, where
// each different `positive` becomes a document. Questions without a relevant document are left out.
Result<EvalSet> ReadEvalSet(const std::string& path);

// What some system found: rows {"qid", "docid", "score"}, as documents of each question, the best
// score first.
using DocumentRankings = std::unordered_map<std::string, std::vector<std::string>>;
Result<DocumentRankings> ReadRankings(const std::string& path);

// Documents with text, in the order of the file; `count` of them drawn evenly if there are more
// (0: all). The same for a seed.
Result<std::vector<EvalDocument>> SampleCorpus(const std::string& path, int64_t count,
                                               uint64_t seed);

// `count` different indexes below `size` in ascending order, or all of them; the same for a seed.
std::vector<int64_t> SampleIndexes(int64_t size, int64_t count, uint64_t seed);

struct EvalPassage {
  int64_t document;             // index into the documents
  std::vector<TokenId> tokens;  // title, line end, text: as `msa add` cuts and encodes it
};

// About evenly many passages of each document, `count` in all or as many as there are. Passages
// below 16 tokens are left out: they say little and their latents more than they.
std::vector<EvalPassage> SamplePassages(std::span<const EvalDocument> documents,
                                        const Tokenizer& tokenizer, int64_t passage_tokens,
                                        int64_t count, uint64_t seed);

}  // namespace msa
