#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/eval.h"
#include "msa/eval/json.h"

namespace msa::cli {
namespace {

struct Options : EvalOptions {
  std::vector<std::string> sets;
  std::string passages = "relevant";
  ReadingOptions reading;
};

void Print(const ReadingReport& report) {
  std::printf("%s: %lld questions, %lld answer tokens\n", report.set.c_str(),
              static_cast<long long>(report.questions),
              static_cast<long long>(report.answer_tokens));
  std::printf("  %-20s %20s %12s %8s\n", "given", "nats a token", "exact match", "F1");
  for (size_t given = 0; given < report.figures.size(); ++given) {
    const ReadingFigures& f = report.figures[given];
    std::printf("  %-20s %10.4f +- %.4f", std::string(kGivenNames[given]).c_str(), f.nats.mean,
                f.nats.standard_error);
    if (report.generated) std::printf(" %12.4f %8.4f", f.exact_match, f.f1);
    std::printf("\n");
  }
  std::printf("  latents are worth %.4f +- %.4f nats a token more than a stranger's,\n",
              report.latents_gain.mean, report.latents_gain.standard_error);
  std::printf("  and %.4f +- %.4f beside the text\n", report.both_gain.mean,
              report.both_gain.standard_error);
  std::fflush(stdout);
}

Status Run(const Options& options) {
  ReadingOptions reading = options.reading;
  MSA_RETURN_IF_ERROR(options.Fill(&reading));
  reading.heads = HeadsByName(options.passages);
  for (const std::string& path : options.sets) {
    MSA_ASSIGN_OR_RETURN(const EvalSet set, ReadEvalSet(path));
    MSA_ASSIGN_OR_RETURN(const ReadingReport report, EvaluateReading(set, reading));
    options.json ? PrintJson(ToJson(report)) : Print(report);
  }
  return OkStatus();
}

}  // namespace

void DeclareEvalReading(CLI::App& eval, int* exit_status) {
  auto options = std::make_shared<Options>();
  options->sample = options->reading.sample;
  CLI::App* command = eval.add_subcommand(
      "reading", "What latents are worth to an answer, beside a stranger's and the text itself");
  command
      ->add_option("SET", options->sets,
                   "Folders with docs, queries (with \"answers\") and qrels, or files of pairs "
                   "{\"query\", \"positive\", \"answer\"}")
      ->required();
  CLI::Option* passages =
      command
          ->add_option("--passages", options->passages,
                       "Those of the relevant documents, or what these heads find in the set")
          ->check(CLI::IsMember({"relevant", "lexical", "latent", "fused"}))
          ->capture_default_str();
  command
      ->add_option("--ranking", options->reading.ranking,
                   "Those of the documents that another system found: JSON Lines {\"qid\", "
                   "\"docid\", \"score\"}, for one SET")
      ->check(CLI::ExistingFile)
      ->excludes(passages);
  command
      ->add_option("-k", options->reading.k,
                   "Passages at most (default: as many as msa ask selects)")
      ->check(CLI::Range(1, 1024));
  AddHops(*command, &options->reading.hops);
  command->add_flag("--reader-of-text", options->reading.reader_of_text,
                    "Text alone is read by the adapter's reader, too, not by the model as it is: "
                    "for an adapter trained on text");
  command->add_flag("--generate", options->reading.generate,
                    "Greedy answers too: exact match and F1");
  command->add_option("--max-tokens", options->reading.max_tokens, "Longest such answer")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  options->AddEval(*command, "questions of each set");
  command->callback(
      [options, exit_status] { *exit_status = Finish(Run(*options), options->json); });
}

}  // namespace msa::cli
