// Weighted reciprocal rank fusion of ranked lists (Cormack, Clarke and Buettcher, SIGIR 2009).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "msa/base/ids.h"

namespace msa {

struct RankedList {
  std::string head;
  double weight = 1;
  std::vector<PassageId> passages;  // best first
};

struct FusedPassage {
  PassageId passage;
  double score;  // sum over lists of weight / (60 + rank), rank from 1
};

// Best first, ties to the smaller id, at most k. A list of weight 0 has no say, not even in who
// takes part.
std::vector<FusedPassage> FuseReciprocalRank(const std::vector<RankedList>& lists, int64_t k);

}  // namespace msa
