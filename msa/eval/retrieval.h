// Retrieval: how well each head, and both fused, find the documents that questions need.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/eval/metrics.h"
#include "msa/eval/search_index.h"

namespace msa {

struct RetrievalOptions {
  EngineOptions engine;
  std::vector<Heads> heads = {Heads::kLexical, Heads::kLatent, Heads::kFused};
  double latent_weight = -1;  // of the fusion; below 0: the adapter's
  std::vector<double> sweep;  // more weights to try: nDCG@10 of each
  int64_t hops = 1;           // of the fused ranking, engine/hop.h
  int64_t depth = 1000;       // passages that a head ranks for a question
  int64_t sample = 0;         // questions of each set; 0: all
  uint64_t seed = 0;
};

struct RetrievalFigures {
  double ndcg10 = 0;
  double recall1 = 0, recall10 = 0, recall16 = 0, recall100 = 0;
  double mrr = 0;
  Hub hub;
};

struct RetrievalReport {
  std::string set;  // "mean" over sets: hubs are then the largest of all
  int64_t documents = 0, passages = 0, questions = 0;
  double latent_weight = 0;
  std::vector<std::pair<Heads, RetrievalFigures>> heads;
  std::vector<std::pair<double, double>> sweep;  // weight, nDCG@10 fused
};

Result<RetrievalReport> EvaluateRetrieval(const EvalSet& set, const RetrievalOptions& options);

// Means of figures, each set counting once. REQUIRES: reports with the same heads and sweep.
RetrievalReport MeanOverSets(const std::vector<RetrievalReport>& reports);

}  // namespace msa
