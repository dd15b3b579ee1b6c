// Search in hops: what the best passages name ranks higher in the next round.
//
// "Who is married to the director of Big Eyes?" names one document; the passage that it finds names
// the other ("Big Eyes is a film by Tim Burton"), of which the question has no word. So the text of
// the best passages is itself a query, and a document whose title stands in that text moves up.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/engine/fusion.h"
#include "msa/engine/result_reader.h"

namespace msa {

// FuseScores(heads, k), then in `hops` - 1 further rounds again, with what the best three passages
// name as one list more: passages of documents whose title stands in their text, as a whole word
// and in the same case, but not in `query` (a title of over three bytes, without what it ends with
// in parentheses). Such a passage gains 4 standard deviations if the first names it, half of that
// by the second (docs/decisions/0014-hops.md). `reader` reads of `snapshot`. The last round's names
// are left in *named, best first, unless it is null.
Result<std::vector<FusedPassage>> FuseInHops(const Snapshot& snapshot, ResultReader& reader,
                                             std::string_view query, const LabelFilter& where,
                                             std::vector<RankedList> heads, int64_t hops, int64_t k,
                                             std::vector<LexicalHit>* named = nullptr);

}  // namespace msa
