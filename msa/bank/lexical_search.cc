#include "msa/bank/lexical_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace msa {
namespace {

// A question of more distinct terms than this is cut to its rarest: FTS5 bounds the size of an
// expression.
constexpr size_t kMaxTerms = 256;

struct CountedTerm {
  QuestionTerm term;
  double passages;  // visible ones with the term
};

Result<double> CountTerm(LexicalShard& shard, const QuestionTerm& term, const PassageSet& visible,
                         const LexicalShard::Totals& totals, bool exact) {
  if (totals.passages == 0) return 0.0;
  if (exact && totals.passages != shard.passages()) {
    MSA_ASSIGN_OR_RETURN(const int64_t count, shard.VisiblePassagesWith(term, visible));
    return static_cast<double>(count);
  }
  MSA_ASSIGN_OR_RETURN(const int64_t count, shard.PassagesWith(term));
  return static_cast<double>(count) * static_cast<double>(totals.passages) /
         static_cast<double>(shard.passages());
}

// The terms that some passage has, ascending by stem, at most kMaxTerms.
void KeepUsefulTerms(std::vector<CountedTerm>* terms) {
  std::erase_if(*terms, [](const CountedTerm& t) { return t.passages <= 0; });
  if (terms->size() <= kMaxTerms) return;
  std::stable_sort(terms->begin(), terms->end(),
                   [](const auto& a, const auto& b) { return a.passages < b.passages; });
  terms->resize(kMaxTerms);
  std::sort(terms->begin(), terms->end(),
            [](const auto& a, const auto& b) { return a.term.stem < b.term.stem; });
}

// Which terms must find the candidates; empty: all of them.
std::vector<size_t> ChooseCandidateTerms(const std::vector<CountedTerm>& terms, double budget) {
  const double postings = std::accumulate(
      terms.begin(), terms.end(), 0.0, [](double sum, const auto& t) { return sum + t.passages; });
  if (postings <= budget) return {};
  std::vector<size_t> order(terms.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return terms[a].passages < terms[b].passages; });
  double chosen = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || chosen + terms[order[count]].passages <= budget)) {
    chosen += terms[order[count++]].passages;
  }
  order.resize(count);
  if (count == terms.size()) order.clear();
  return order;
}

}  // namespace

Result<std::vector<LexicalHit>> SearchShards(std::span<const std::shared_ptr<LexicalShard>> shards,
                                             const PassageSet& visible, std::string_view question,
                                             int64_t k, const LexicalSearchOptions& options) {
  if (k <= 0) return std::vector<LexicalHit>();
  MSA_ASSIGN_OR_RETURN(const std::vector<QuestionTerm> words, TokenizeQuestion(question));

  LexicalShard::Totals all;
  std::vector<LexicalShard::Totals> totals;
  for (const auto& shard : shards) {
    totals.push_back(shard->CountVisible(visible));
    all.passages += totals.back().passages;
    all.tokens += totals.back().tokens;
  }
  std::vector<CountedTerm> terms;
  for (const QuestionTerm& word : words) {
    CountedTerm& counted = terms.emplace_back(CountedTerm{word, 0});
    for (size_t s = 0; s < shards.size(); ++s) {
      MSA_ASSIGN_OR_RETURN(const double count, CountTerm(*shards[s], word, visible, totals[s],
                                                         options.exact_statistics));
      counted.passages += count;
    }
  }
  KeepUsefulTerms(&terms);
  if (terms.empty()) return std::vector<LexicalHit>();

  LexicalRequest request;
  const auto n = static_cast<double>(all.passages);
  for (const CountedTerm& t : terms) {
    request.terms.push_back(t.term);
    request.weights.push_back(std::log1p((n - t.passages + 0.5) / (t.passages + 0.5)));
  }
  request.candidates = ChooseCandidateTerms(terms, static_cast<double>(options.candidate_postings));
  request.average_length = static_cast<double>(all.tokens) / n;
  request.visible = &visible;

  LexicalTopK top(k);
  for (size_t s = 0; s < shards.size(); ++s) {
    if (totals[s].passages > 0) MSA_RETURN_IF_ERROR(shards[s]->Search(request, &top));
  }
  std::vector<LexicalHit> hits;
  for (const LexicalTopK::Hit& hit : top.TakeSorted()) {
    hits.push_back({PassageId{hit.passage}, static_cast<float>(hit.score)});
  }
  return hits;
}

}  // namespace msa
