// BM25 over all shards as if they were one.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/lexical_shard.h"

namespace msa {

struct LexicalSearchOptions {
  // Up to this many postings (counted over all terms), every passage with any term is scored.
  // Above, only passages with one of the rarer terms: as many of those, rarest first, as have this
  // many postings together, at least one. The score counts all terms either way.
  int64_t candidate_postings = 60000;
  // `visible` was narrowed by a caller's rights: statistics must not count anything else, so terms
  // are counted over `visible` alone. Otherwise the counts of a shard with superseded passages are
  // scaled by the share of its passages that is visible.
  bool exact_statistics = false;
};

// Best first, ties to the smaller id. Empty if `question` has no term in common with `visible`.
Result<std::vector<LexicalHit>> SearchShards(std::span<const std::shared_ptr<LexicalShard>> shards,
                                             const PassageSet& visible, std::string_view question,
                                             int64_t k, const LexicalSearchOptions& options);

}  // namespace msa
