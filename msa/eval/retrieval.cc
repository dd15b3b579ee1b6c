#include "msa/eval/retrieval.h"

#include <algorithm>
#include <numeric>

namespace msa {
namespace {

RetrievalFigures Measure(const SearchIndex& index, const Rankings& rankings,
                         const std::vector<EvalQuestion>& questions) {
  std::vector<std::vector<std::string>> documents;
  RetrievalFigures sum;
  for (size_t q = 0; q < questions.size(); ++q) {
    documents.push_back(index.Documents(rankings[q]));
    const std::vector<std::string>& ranking = documents.back();
    const Relevance& relevant = questions[q].relevant;
    sum.ndcg10 += Ndcg(ranking, relevant, 10);
    sum.recall1 += Recall(ranking, relevant, 1);
    sum.recall10 += Recall(ranking, relevant, 10);
    sum.recall16 += Recall(ranking, relevant, 16);
    sum.recall100 += Recall(ranking, relevant, 100);
    sum.mrr += ReciprocalRank(ranking, relevant);
  }
  const auto n = static_cast<double>(questions.size());
  return {sum.ndcg10 / n,    sum.recall1 / n, sum.recall10 / n,     sum.recall16 / n,
          sum.recall100 / n, sum.mrr / n,     LargestHub(documents)};
}

}  // namespace

Result<RetrievalReport> EvaluateRetrieval(const EvalSet& set, const RetrievalOptions& options) {
  const auto wants = [&](Heads head) {
    return std::find(options.heads.begin(), options.heads.end(), head) != options.heads.end();
  };
  const bool fused = wants(Heads::kFused) || !options.sweep.empty();
  const bool needs_latent = wants(Heads::kLatent) || fused;
  MSA_ASSIGN_OR_RETURN(const auto index,
                       SearchIndex::Build(set.documents, options.engine, needs_latent));
  std::vector<EvalQuestion> questions;
  for (const int64_t q : SampleIndexes(std::ssize(set.questions), options.sample, options.seed)) {
    questions.push_back(set.questions[static_cast<size_t>(q)]);
  }

  RetrievalReport report{set.name, index->num_documents(), index->num_passages(),
                         std::ssize(questions)};
  report.latent_weight =
      options.latent_weight >= 0 ? options.latent_weight : index->model().latent_weight();
  Rankings lexical, latent;
  if (wants(Heads::kLexical) || fused) {
    MSA_ASSIGN_OR_RETURN(lexical, index->RankLexical(questions, options.depth));
  }
  if (needs_latent) {
    MSA_ASSIGN_OR_RETURN(latent, index->RankLatent(questions, options.depth));
  }
  for (const Heads head : options.heads) {
    Rankings both;
    if (head == Heads::kFused) {
      MSA_ASSIGN_OR_RETURN(both, index->Fuse(questions, lexical, latent, report.latent_weight,
                                             options.hops, options.depth));
    }
    const Rankings& rankings = head == Heads::kLexical  ? lexical
                               : head == Heads::kLatent ? latent
                                                        : both;
    report.heads.emplace_back(head, Measure(*index, rankings, questions));
  }
  for (const double weight : options.sweep) {
    MSA_ASSIGN_OR_RETURN(const Rankings both, index->Fuse(questions, lexical, latent, weight,
                                                          options.hops, options.depth));
    report.sweep.emplace_back(weight, Measure(*index, both, questions).ndcg10);
  }
  return report;
}

RetrievalReport MeanOverSets(const std::vector<RetrievalReport>& reports) {
  MSA_CHECK(!reports.empty());
  RetrievalReport mean = reports.front();
  mean.set = "mean";
  for (auto& [head, figures] : mean.heads) figures = {};
  for (auto& [weight, ndcg] : mean.sweep) ndcg = 0;
  mean.documents = mean.passages = mean.questions = 0;
  const auto n = static_cast<double>(reports.size());
  for (const RetrievalReport& report : reports) {
    mean.documents += report.documents;
    mean.passages += report.passages;
    mean.questions += report.questions;
    for (size_t h = 0; h < mean.heads.size(); ++h) {
      const RetrievalFigures& from = report.heads[h].second;
      RetrievalFigures& to = mean.heads[h].second;
      to.ndcg10 += from.ndcg10 / n;
      to.recall1 += from.recall1 / n;
      to.recall10 += from.recall10 / n;
      to.recall16 += from.recall16 / n;
      to.recall100 += from.recall100 / n;
      to.mrr += from.mrr / n;
      if (from.hub.share > to.hub.share) to.hub = from.hub;
    }
    for (size_t i = 0; i < mean.sweep.size(); ++i)
      mean.sweep[i].second += report.sweep[i].second / n;
  }
  return mean;
}

}  // namespace msa
