#include "msa/eval/kept.h"

#include <algorithm>
#include <numeric>

#include "msa/base/utf8.h"
#include "msa/eval/memories.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

constexpr size_t kContextBytes = 60;

// What is measured: passages of all corpora with the kinds of their tokens.
struct Sample {
  std::vector<EvalPassage> passages;             // `document` counts through all corpora
  std::vector<size_t> corpus;                    // of each passage
  std::vector<std::vector<std::string>> pieces;  // bytes of each token
  std::vector<std::vector<TokenKind>> kinds;
};

Result<Sample> Draw(const std::vector<std::string>& corpora, const MemoryModel& model,
                    const KeptOptions& options) {
  Sample sample;
  WordCounts counts;
  for (size_t c = 0; c < corpora.size(); ++c) {
    MSA_ASSIGN_OR_RETURN(const auto documents,
                         SampleCorpus(corpora[c], options.sample, options.seed));
    for (const EvalDocument& document : documents) counts.Add(document.text);
    std::vector<EvalPassage> passages = SamplePassages(
        documents, model.tokenizer(), model.memory().passage_tokens, options.sample, options.seed);
    if (passages.empty()) return InvalidArgument(corpora[c] + ": no passage of 16 tokens or more");
    for (EvalPassage& passage : passages) {
      auto& pieces = sample.pieces.emplace_back();
      for (const TokenId token : passage.tokens) {
        pieces.push_back(model.tokenizer().Decode({&token, 1}, /*keep_special=*/true));
      }
      sample.passages.push_back(std::move(passage));
      sample.corpus.push_back(c);
    }
  }
  for (const auto& pieces : sample.pieces) sample.kinds.push_back(ClassifyTokens(pieces, counts));
  return sample;
}

// Token `t` with the text around it, on one line.
WorstToken Quote(std::span<const std::string> pieces, size_t t) {
  WorstToken quoted;
  size_t first = t;
  for (size_t bytes = 0; first > 0 && bytes < kContextBytes; bytes += pieces[first].size()) --first;
  size_t last = t + 1;
  for (size_t bytes = 0; last < pieces.size() && bytes < kContextBytes / 3; ++last) {
    bytes += pieces[last].size();
  }
  for (size_t i = first; i < t; ++i) quoted.before += pieces[i];
  for (size_t i = t + 1; i < last; ++i) quoted.after += pieces[i];
  quoted.before = ReplaceInvalidUtf8(quoted.before);
  quoted.token = ReplaceInvalidUtf8(pieces[t]);
  quoted.after = ReplaceInvalidUtf8(quoted.after);
  return quoted;
}

class KeptMeter {
 public:
  KeptMeter(const Sample& sample, const KeptOptions& options, size_t num_corpora)
      : sample_(sample), options_(options), num_corpora_(num_corpora) {}

  // Nats of every passage without memory: the same for every rate.
  Status ScorePlain(MemoryModel& model) {
    Progress progress("without memory", "passages", std::ssize(sample_.passages),
                      options_.engine.progress);
    return ForEachBatch(sample_.passages, options_.engine.cancelled,
                        [&](size_t begin, size_t end) -> Status {
                          std::vector<ScoreRow> rows;
                          for (size_t i = begin; i < end; ++i)
                            rows.push_back({sample_.passages[i].tokens});
                          MSA_ASSIGN_OR_RETURN(auto nats, model.Score(rows));
                          std::move(nats.begin(), nats.end(), std::back_inserter(plain_));
                          progress.Add(static_cast<int64_t>(end - begin));
                          return OkStatus();
                        });
  }

  Result<KeptRate> Measure(MemoryModel& model) const {
    KeptRate rate{.chunk_tokens = model.memory().chunk_tokens};
    rate.by_corpus.resize(num_corpora_);
    std::vector<double> latent_sums, plain_sums;
    Progress progress("P = " + std::to_string(rate.chunk_tokens), "passages",
                      std::ssize(sample_.passages), options_.engine.progress);
    const auto score = [&](size_t begin, size_t end) -> Status {
      std::vector<std::span<const TokenId>> texts;
      for (size_t i = begin; i < end; ++i) texts.emplace_back(sample_.passages[i].tokens);
      MSA_ASSIGN_OR_RETURN(const auto memories, EncodeMemories(model, texts));
      std::vector<ScoreRow> rows;
      for (size_t i = 0; i < texts.size(); ++i) rows.push_back({texts[i], &memories[i]});
      MSA_ASSIGN_OR_RETURN(const auto nats, model.Score(rows));
      for (size_t i = begin; i < end; ++i) {
        Count(i, nats[i - begin], &rate);
        latent_sums.push_back(std::accumulate(nats[i - begin].begin(), nats[i - begin].end(), 0.0));
        plain_sums.push_back(std::accumulate(plain_[i].begin(), plain_[i].end(), 0.0));
      }
      progress.Add(static_cast<int64_t>(end - begin));
      return OkStatus();
    };
    MSA_RETURN_IF_ERROR(ForEachBatch(sample_.passages, options_.engine.cancelled, score));
    rate.standard_error = RatioEstimate(latent_sums, plain_sums).standard_error;
    return rate;
  }

 private:
  // Adds passage `i` to the sums; nats[t - 1] are those of token t.
  void Count(size_t i, const std::vector<float>& nats, KeptRate* rate) const {
    size_t worst = 0;
    for (size_t n = 0; n < nats.size(); ++n) {
      const TokenKind kind = sample_.kinds[i][n + 1];
      for (KeptSums* sums : {&rate->all, &rate->by_kind[static_cast<size_t>(kind)],
                             &rate->by_corpus[sample_.corpus[i]]}) {
        ++sums->tokens;
        sums->plain_nats += plain_[i][n];
        sums->latent_nats += nats[n];
      }
      if (nats[n] > nats[worst]) worst = n;
    }
    const auto less_lost = [](const WorstToken& a, const WorstToken& b) {
      return a.latent_nats > b.latent_nats;
    };
    WorstToken token = Quote(sample_.pieces[i], worst + 1);
    token.plain_nats = plain_[i][worst];
    token.latent_nats = nats[worst];
    token.kind = sample_.kinds[i][worst + 1];
    auto& list = rate->worst;
    list.insert(std::upper_bound(list.begin(), list.end(), token, less_lost), std::move(token));
    if (std::ssize(list) > options_.examples) list.pop_back();
  }

  const Sample& sample_;
  const KeptOptions& options_;
  const size_t num_corpora_;
  std::vector<std::vector<float>> plain_;
};

}  // namespace

Result<KeptReport> EvaluateKept(const std::vector<std::string>& corpora,
                                const KeptOptions& options) {
  KeptReport report{.corpora = corpora};
  EngineOptions engine = options.engine;
  Sample sample;
  std::unique_ptr<KeptMeter> meter;
  for (const int64_t chunk_tokens : options.chunk_tokens) {
    engine.memory.chunk_tokens = chunk_tokens;
    MSA_ASSIGN_OR_RETURN(const auto model, LoadEvalModel(engine));
    if (meter == nullptr) {
      MSA_ASSIGN_OR_RETURN(sample, Draw(corpora, *model, options));
      meter = std::make_unique<KeptMeter>(sample, options, corpora.size());
      MSA_RETURN_IF_ERROR(meter->ScorePlain(*model));
      report.passages = std::ssize(sample.passages);
    }
    MSA_ASSIGN_OR_RETURN(KeptRate rate, meter->Measure(*model));
    report.rates.push_back(std::move(rate));
  }
  return report;
}

}  // namespace msa
