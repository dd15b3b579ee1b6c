// The measures, on plain numbers and strings; docs/evaluation.md defines them in words.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace msa {

// Rankings are document ids, best first, none twice; `relevant` maps ids to relevance above 0.
using Relevance = std::map<std::string, double>;

// Gain rel / log2(rank + 1), divided by that of the best ranking.
double Ndcg(std::span<const std::string> ranking, const Relevance& relevant, int64_t depth);
// Share of the relevant documents among the first `depth`.
double Recall(std::span<const std::string> ranking, const Relevance& relevant, int64_t depth);
// 1 / rank of the first relevant document, 0 if there is none.
double ReciprocalRank(std::span<const std::string> ranking, const Relevance& relevant);

// The document that stands first for most questions, and its share of all of them. Ties go to the
// smaller id.
struct Hub {
  std::string document;
  double share = 0;
};
Hub LargestHub(std::span<const std::vector<std::string>> rankings);

// A ratio of sums, sum(values) / sum(weights), and its standard error over the pairs (linearised).
struct Estimate {
  double mean = 0;
  double standard_error = 0;
};
Estimate RatioEstimate(std::span<const double> values, std::span<const double> weights);

// Answers as SQuAD compares them: lower case, no punctuation, no articles, single spaces.
std::string NormaliseAnswer(std::string_view text);
bool ExactMatch(std::string_view answer, std::span<const std::string> expected);
// The best F1 of common words over the expected answers.
double AnswerF1(std::string_view answer, std::span<const std::string> expected);

}  // namespace msa
