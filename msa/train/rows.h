// Rows of the files that a pack is made of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "msa/base/status.h"

namespace msa {

struct CorpusRow {
  std::string title;  // may be empty
  std::string text;
};

struct PairRow {
  std::string query;
  std::string answer;                  // may be empty
  std::string title;                   // of `positive`; may be empty
  bool standalone = true;              // does the question make sense without its document?
  std::vector<std::string> positives;  // the row's "positive" first
  std::vector<std::string> negatives;
};

// kInvalidArgument says what is wrong: no JSON object, a field absent, empty or of another type.
Result<CorpusRow> ParseCorpusRow(std::string_view line);
Result<PairRow> ParsePairRow(std::string_view line);

}  // namespace msa
