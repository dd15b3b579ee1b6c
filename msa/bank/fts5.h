// The parts of FTS5's extension interface we use: its tokenizer, and an auxiliary function that
// scores each match as FTS5 meets it.
#pragma once

#include <cstdint>
#include <span>

#include "msa/bank/passage_set.h"
#include "msa/bank/sqlite.h"

namespace msa {

class LexicalTopK;

// BM25 with k1 1.2, b 0.75, over the phrases of the match from `first_phrase` on; phrase
// first_phrase + i has weights[i]. Everything is borrowed for the length of one search.
struct PassageScorer {
  int first_phrase = 0;
  std::span<const double> weights;
  std::span<const uint16_t> lengths;  // by rowid - 1
  int64_t first_passage = 0;          // of rowid 1
  double average_length = 1;
  const PassageSet* visible = nullptr;
  LexicalTopK* top = nullptr;
};

// Makes msa_score(table, scorer) known to a connection. It offers each visible match to
// scorer.top and returns 0.
Status RegisterPassageScorer(const Database& db);
void BindPassageScorer(Statement& statement, int index, PassageScorer* scorer);

// The fts5_api of a connection.
Result<fts5_api*> Fts5Api(const Database& db);

}  // namespace msa
