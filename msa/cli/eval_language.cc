#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/eval.h"
#include "msa/eval/json.h"

namespace msa::cli {
namespace {

struct Options : EvalOptions {
  std::vector<std::string> corpora;
};

void Print(const LanguageReport& r) {
  std::printf("%s: %lld passages, %lld tokens scored\n", r.corpus.c_str(),
              static_cast<long long>(r.passages), static_cast<long long>(r.tokens));
  const auto line = [](const char* name, const Estimate& e, const char* format) {
    std::printf("  %-28s ", name);
    std::printf(format, e.mean);
    std::printf(" +- %.4f\n", e.standard_error);
  };
  line("no memory, nats a token", r.plain, "%8.4f");
  line("a stranger's latents", r.stranger, "%8.4f");
  line("difference", r.difference, "%+8.4f");
  std::fflush(stdout);
}

Status Run(const Options& options) {
  LanguageOptions language;
  MSA_RETURN_IF_ERROR(options.Fill(&language));
  for (const std::string& corpus : options.corpora) {
    MSA_ASSIGN_OR_RETURN(const LanguageReport report, EvaluateLanguage(corpus, language));
    options.json ? PrintJson(ToJson(report)) : Print(report);
  }
  return OkStatus();
}

}  // namespace

void DeclareEvalLanguage(CLI::App& eval, int* exit_status) {
  auto options = std::make_shared<Options>();
  options->sample = LanguageOptions().sample;
  CLI::App* command = eval.add_subcommand(
      "language", "What a memory that does not help costs the reader: nats with a stranger's");
  command
      ->add_option("CORPUS", options->corpora,
                   "Files of rows {\"id\"?, \"title\"?, \"text\"} (.jsonl or .jsonl.zst)")
      ->required();
  options->AddEval(*command, "passages of each corpus");
  command->get_option("--sample")->check(CLI::PositiveNumber)->description("How many passages");
  command->callback(
      [options, exit_status] { *exit_status = Finish(Run(*options), options->json); });
}

}  // namespace msa::cli
