// Fusion of the heads' ranked lists by standardised scores.
#pragma once

#include <cstdint>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/base/ids.h"

namespace msa {

// What a head found: passages with its scores, best first.
struct RankedList {
  double weight = 1;
  std::vector<LexicalHit> hits;
  bool standardised = false;  // the scores are standard deviations above what was left out already
};

struct FusedPassage {
  PassageId passage;
  double score;
};

// A list with fewer hits holds all that its head found.
inline constexpr int64_t kFusionDepth = 100;

// Best first, ties to the smaller id, at most k. A passage's score is the sum over the lists that
// hold it of weight (s - floor) / deviation: how far above what the head left out, in standard
// deviations of its kFusionDepth best scores. The floor is the list's last score; in a list with
// fewer hits 0 (or the last, if that is lower), and so are the scores that it lacks. Up to a
// constant this is a sum of z-scores. A list of weight 0 has no say, not even in who takes part.
std::vector<FusedPassage> FuseScores(const std::vector<RankedList>& lists, int64_t k);

}  // namespace msa
