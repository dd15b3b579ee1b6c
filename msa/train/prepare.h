// What a document becomes before it is known whether the pack takes it: passages with the starts of
// their sentences, questions made from them, hashes to compare. Pure functions of their arguments,
// so that any number of threads may run them and the result is the same.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msa/text/tokenizer.h"
#include "msa/train/dedupe.h"
#include "msa/train/pack_writer.h"
#include "msa/train/questions.h"

namespace msa {

struct PrepareOptions {
  int64_t passage_tokens = 256;
  uint64_t seed = 0;
  MadeShares made;
};

struct PreparedPassage {
  PackPassage passage;          // its source is left to the caller
  std::vector<uint64_t> words;  // distinct
  std::vector<MadeQuestion> questions;
};

struct PreparedDocument {
  std::vector<PreparedPassage> passages;   // without those that evaluation sets share text with
  std::vector<SeenDocuments::Gram> grams;  // sampled; passages as above
  int64_t dropped_overlap = 0;             // passages
};

class Preparer {
 public:
  // `tokenizer` and `evaluation` must outlive it.
  Preparer(const Tokenizer& tokenizer, const EvaluationText& evaluation,
           const PrepareOptions& options);

  // Cuts as `msa add` does. An empty title stays empty. Questions are made if `make_questions`.
  PreparedDocument Prepare(std::string_view title, std::string_view text,
                           bool make_questions) const;
  // What the tokens of a passage read; `has_title` as in Prepare.
  PassageText Read(std::span<const TokenId> tokens, bool has_title) const;

 private:
  void MakeQuestions(const PassageText& text, uint64_t seed, PreparedPassage* passage) const;

  const Tokenizer& tokenizer_;
  const EvaluationText& evaluation_;
  const PrepareOptions options_;
  std::vector<uint32_t> token_bytes_;  // by id
};

}  // namespace msa
