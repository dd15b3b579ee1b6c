#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/eval.h"
#include "msa/eval/json.h"

namespace msa::cli {
namespace {

struct Options : EvalOptions {
  std::vector<std::string> sets;
  std::vector<std::string> heads = {"lexical", "latent", "fused"};
  RetrievalOptions retrieval;
  bool sweep = false;
};

void Print(const RetrievalReport& report) {
  std::printf("%s: %lld documents, %lld passages, %lld questions\n", report.set.c_str(),
              static_cast<long long>(report.documents), static_cast<long long>(report.passages),
              static_cast<long long>(report.questions));
  std::printf("  %-16s %8s %8s %8s %8s %8s %8s   %s\n", "head", "nDCG@10", "R@1", "R@10", "R@16",
              "R@100", "MRR", "largest hub");
  for (const auto& [head, f] : report.heads) {
    std::string name(HeadsName(head));
    if (head == Heads::kFused) {
      char weight[32];
      std::snprintf(weight, sizeof(weight), " (1 : %g)", report.latent_weight);
      name += weight;
    }
    std::printf("  %-16s %8.4f %8.4f %8.4f %8.4f %8.4f %8.4f   %4.1f %% %s\n", name.c_str(),
                f.ndcg10, f.recall1, f.recall10, f.recall16, f.recall100, f.mrr, 100 * f.hub.share,
                Snippet(f.hub.document, 40).c_str());
  }
  for (const auto& [weight, ndcg] : report.sweep) {
    std::printf("  latent weight %-5g nDCG@10 %.4f\n", weight, ndcg);
  }
  std::fflush(stdout);
}

Status Run(const Options& options) {
  RetrievalOptions retrieval = options.retrieval;
  MSA_RETURN_IF_ERROR(options.Fill(&retrieval));
  retrieval.heads.clear();
  for (const Heads head : {Heads::kLexical, Heads::kLatent, Heads::kFused}) {
    if (std::ranges::count(options.heads, HeadsName(head)) > 0) retrieval.heads.push_back(head);
  }
  if (options.sweep) retrieval.sweep = {0, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10};
  std::vector<RetrievalReport> reports;
  for (const std::string& path : options.sets) {
    MSA_ASSIGN_OR_RETURN(const EvalSet set, ReadEvalSet(path));
    auto report = EvaluateRetrieval(set, retrieval);
    if (!report.ok()) return report.status().WithContext(path);
    reports.push_back(*std::move(report));
    options.json ? PrintJson(ToJson(reports.back())) : Print(reports.back());
  }
  if (reports.size() > 1) {
    const RetrievalReport mean = MeanOverSets(reports);
    options.json ? PrintJson(ToJson(mean)) : Print(mean);
  }
  return OkStatus();
}

}  // namespace

void DeclareEvalRetrieval(CLI::App& eval, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = eval.add_subcommand(
      "retrieval", "Whether the heads find the documents that questions need: nDCG, recall, hubs");
  command
      ->add_option("SET", options->sets,
                   "Folders with docs, queries and qrels (.jsonl or .jsonl.zst), or files of pairs "
                   "{\"query\", \"positive\"}")
      ->required();
  command->add_option("--heads", options->heads, "Rankings to measure")
      ->delimiter(',')
      ->check(CLI::IsMember({"lexical", "latent", "fused"}))
      ->capture_default_str();
  command
      ->add_option("--latent-weight", options->retrieval.latent_weight,
                   "Of the latent head in the fusion, the lexical head's being 1 (default: the "
                   "adapter's)")
      ->check(CLI::NonNegativeNumber);
  AddHops(*command, &options->retrieval.hops);
  command->add_flag("--sweep", options->sweep, "Try other latent weights too: nDCG@10 of each");
  command
      ->add_option("--depth", options->retrieval.depth,
                   "Passages that each head ranks for a question")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  options->AddEval(*command, "questions of each set");
  command->callback(
      [options, exit_status] { *exit_status = Finish(Run(*options), options->json); });
}

}  // namespace msa::cli
