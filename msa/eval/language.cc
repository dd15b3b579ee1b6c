#include "msa/eval/language.h"

#include <numeric>

#include "msa/eval/memories.h"

namespace msa {
namespace {

// For each passage one of another document, half the sample away; nothing if there is one document.
Result<std::vector<size_t>> ChooseStrangers(std::span<const EvalPassage> passages) {
  std::vector<size_t> strangers;
  const size_t n = passages.size();
  for (size_t i = 0; i < n; ++i) {
    size_t step = 0;
    size_t other = (i + n / 2) % n;
    while (passages[other].document == passages[i].document) {
      if (++step == n) {
        return InvalidArgument("all passages are of one document: there is no stranger's memory");
      }
      other = (other + 1) % n;
    }
    strangers.push_back(other);
  }
  return strangers;
}

}  // namespace

Result<LanguageReport> EvaluateLanguage(const std::string& corpus, const LanguageOptions& options) {
  MSA_ASSIGN_OR_RETURN(const auto model, LoadEvalModel(options.engine));
  MSA_ASSIGN_OR_RETURN(const auto documents, SampleCorpus(corpus, options.sample, options.seed));
  const std::vector<EvalPassage> passages = SamplePassages(
      documents, model->tokenizer(), model->memory().passage_tokens, options.sample, options.seed);
  if (passages.empty()) return InvalidArgument(corpus + ": no passage of 16 tokens or more");
  MSA_ASSIGN_OR_RETURN(const std::vector<size_t> strangers, ChooseStrangers(passages));

  LanguageReport report{.corpus = corpus, .passages = std::ssize(passages)};
  std::vector<double> plain, stranger, difference, weights;
  Progress progress("scoring", "passages", report.passages, options.engine.progress);
  const auto score = [&](size_t begin, size_t end) -> Status {
    std::vector<std::span<const TokenId>> others;
    for (size_t i = begin; i < end; ++i) others.emplace_back(passages[strangers[i]].tokens);
    MSA_ASSIGN_OR_RETURN(const auto memories, EncodeMemories(*model, others));
    std::vector<ScoreRow> rows;
    for (size_t i = begin; i < end; ++i) {
      rows.push_back({passages[i].tokens});
      rows.push_back({passages[i].tokens, &memories[i - begin]});
    }
    MSA_ASSIGN_OR_RETURN(const auto nats, model->Score(rows));
    for (size_t r = 0; r < nats.size(); r += 2) {
      plain.push_back(std::accumulate(nats[r].begin(), nats[r].end(), 0.0));
      stranger.push_back(std::accumulate(nats[r + 1].begin(), nats[r + 1].end(), 0.0));
      difference.push_back(stranger.back() - plain.back());
      weights.push_back(static_cast<double>(nats[r].size()));
      report.tokens += std::ssize(nats[r]);
    }
    progress.Add(static_cast<int64_t>(end - begin));
    return OkStatus();
  };
  MSA_RETURN_IF_ERROR(ForEachBatch(passages, options.engine.cancelled, score));
  report.plain = RatioEstimate(plain, weights);
  report.stranger = RatioEstimate(stranger, weights);
  report.difference = RatioEstimate(difference, weights);
  return report;
}

}  // namespace msa
