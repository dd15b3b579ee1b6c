#include "msa/eval/json.h"

#include <nlohmann/json.hpp>

namespace msa {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const Estimate& estimate) {
  return {{"mean", estimate.mean}, {"standard_error", estimate.standard_error}};
}

Json ToJson(const KeptSums& sums) {
  return {{"tokens", sums.tokens},
          {"plain_nats", sums.plain_nats},
          {"latent_nats", sums.latent_nats},
          {"kept", sums.kept()}};
}

}  // namespace

Json ToJson(const RetrievalReport& report) {
  Json json = {{"set", report.set},
               {"documents", report.documents},
               {"passages", report.passages},
               {"questions", report.questions},
               {"latent_weight", report.latent_weight},
               {"heads", Json::object()}};
  for (const auto& [head, figures] : report.heads) {
    json["heads"][HeadsName(head)] = {
        {"ndcg@10", figures.ndcg10},
        {"recall@1", figures.recall1},
        {"recall@10", figures.recall10},
        {"recall@16", figures.recall16},
        {"recall@100", figures.recall100},
        {"mrr", figures.mrr},
        {"hub", {{"document", figures.hub.document}, {"share", figures.hub.share}}}};
  }
  for (const auto& [weight, ndcg] : report.sweep) {
    json["sweep"].push_back({{"latent_weight", weight}, {"ndcg@10", ndcg}});
  }
  return json;
}

Json ToJson(const LanguageReport& report) {
  return {{"corpus", report.corpus},
          {"passages", report.passages},
          {"tokens", report.tokens},
          {"plain", ToJson(report.plain)},
          {"stranger", ToJson(report.stranger)},
          {"difference", ToJson(report.difference)}};
}

Json ToJson(const KeptReport& report) {
  Json json = {
      {"corpora", report.corpora}, {"passages", report.passages}, {"rates", Json::array()}};
  for (const KeptRate& rate : report.rates) {
    Json item = {{"chunk_tokens", rate.chunk_tokens}};
    item.update(ToJson(rate.all));
    item["standard_error"] = rate.standard_error;
    item["by_kind"] = Json::object();
    for (size_t k = 0; k < rate.by_kind.size(); ++k) {
      item["by_kind"][std::string(kTokenKindNames[k])] = ToJson(rate.by_kind[k]);
    }
    item["by_corpus"] = Json::array();
    for (const KeptSums& sums : rate.by_corpus) item["by_corpus"].push_back(ToJson(sums));
    item["worst"] = Json::array();
    for (const WorstToken& token : rate.worst) {
      item["worst"].push_back({{"before", token.before},
                               {"token", token.token},
                               {"after", token.after},
                               {"kind", kTokenKindNames[static_cast<size_t>(token.kind)]},
                               {"plain_nats", token.plain_nats},
                               {"latent_nats", token.latent_nats}});
    }
    json["rates"].push_back(std::move(item));
  }
  return json;
}

Json ToJson(const ReadingReport& report) {
  Json json = {{"set", report.set},
               {"questions", report.questions},
               {"answer_tokens", report.answer_tokens},
               {"given", Json::object()}};
  for (size_t given = 0; given < report.figures.size(); ++given) {
    const ReadingFigures& figures = report.figures[given];
    Json item = {{"nats", ToJson(figures.nats)}};
    if (report.generated) {
      item["exact_match"] = figures.exact_match;
      item["f1"] = figures.f1;
    }
    json["given"][std::string(kGivenNames[given])] = std::move(item);
  }
  json["latents_gain"] = ToJson(report.latents_gain);
  json["both_gain"] = ToJson(report.both_gain);
  return json;
}

Json ToJson(const NeedleReport& report) {
  Json json = {{"corpus", report.corpus}, {"cells", Json::array()}};
  for (size_t length = 0; length < report.cells.size(); ++length) {
    for (size_t kind = 0; kind < kNeedleKinds; ++kind) {
      const std::vector<NeedleCell>& cells = report.cells[length][kind];
      for (size_t p = 0; p < cells.size(); ++p) {
        if (cells[p].needles == 0) continue;
        Json cell = {{"length_tokens", report.lengths[length]},
                     {"kind", kNeedleKindNames[kind]},
                     {"position", NeedlePosition(static_cast<int64_t>(p), report.positions)},
                     {"needles", cells[p].needles},
                     {"found", cells[p].found}};
        if (report.answered) cell["answered"] = cells[p].answered;
        for (const MissedNeedle& missed : cells[p].missed) {
          cell["missed"].push_back({{"question", missed.question},
                                    {"values", missed.values},
                                    {"answer", missed.answer}});
        }
        json["cells"].push_back(std::move(cell));
      }
    }
  }
  return json;
}

}  // namespace msa
