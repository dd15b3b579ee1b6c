#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/eval.h"
#include "msa/eval/json.h"
#include "msa/eval/plot.h"

namespace msa::cli {
namespace {

struct Options : EvalOptions {
  std::vector<std::string> corpora;
  KeptOptions kept;
};

// Rows of the table: a name, and its sums at each rate.
struct Row {
  std::string name;
  std::vector<KeptSums> sums;
};

std::vector<Row> Rows(const KeptReport& report) {
  std::vector<Row> rows(1 + kTokenKinds + (report.corpora.size() > 1 ? report.corpora.size() : 0));
  for (const KeptRate& rate : report.rates) {
    rows[0].name = "all tokens";
    rows[0].sums.push_back(rate.all);
    for (size_t k = 0; k < kTokenKinds; ++k) {
      rows[1 + k].name = kTokenKindNames[k];
      rows[1 + k].sums.push_back(rate.by_kind[k]);
    }
    for (size_t c = 0; 1 + kTokenKinds + c < rows.size(); ++c) {
      const std::string& path = report.corpora[c];
      rows[1 + kTokenKinds + c].name = path.substr(path.rfind('/') + 1);
      rows[1 + kTokenKinds + c].sums.push_back(rate.by_corpus[c]);
    }
  }
  return rows;
}

void Print(const KeptReport& report) {
  std::printf(
      "%lld passages; share of the bits that the latents keep, and nats a token with them\n",
      static_cast<long long>(report.passages));
  std::printf("%-32s %9s %9s", "", "tokens", "no memory");
  for (const KeptRate& rate : report.rates) {
    std::printf("   P = %-11lld", static_cast<long long>(rate.chunk_tokens));
  }
  std::printf("\n");
  for (const Row& row : Rows(report)) {
    const auto tokens = static_cast<double>(std::max<int64_t>(row.sums.front().tokens, 1));
    std::printf("%-32s %9lld %9.3f", Snippet(row.name, 32).c_str(),
                static_cast<long long>(row.sums.front().tokens),
                row.sums.front().plain_nats / tokens);
    for (const KeptSums& sums : row.sums) {
      std::printf("   %6.1f %% %6.3f", 100 * sums.kept(), sums.latent_nats / tokens);
    }
    std::printf("\n");
  }
  std::printf("%-52s", "standard error of the first row");
  for (const KeptRate& rate : report.rates)
    std::printf("   %6.1f %%       ", 100 * rate.standard_error);
  std::printf("\n");
  for (const KeptRate& rate : report.rates) {
    std::printf("\nMost nats left at P = %lld (without memory, with latents):\n",
                static_cast<long long>(rate.chunk_tokens));
    for (const WorstToken& token : rate.worst) {
      std::printf("  %5.1f %5.1f  %-20s …%s>>%s<<%s…\n", token.plain_nats, token.latent_nats,
                  std::string(kTokenKindNames[static_cast<size_t>(token.kind)]).c_str(),
                  Snippet(token.before, 80).c_str(), Snippet(token.token, 40).c_str(),
                  Snippet(token.after, 40).c_str());
    }
  }
}

std::string Plot(const KeptReport& report) {
  std::vector<PlotSeries> series;
  for (const Row& row : Rows(report)) {
    if (row.sums.front().tokens == 0) continue;
    series.push_back({row.name, {}});
    for (size_t r = 0; r < row.sums.size(); ++r) {
      series.back().points.emplace_back(report.rates[r].chunk_tokens, row.sums[r].kept());
    }
  }
  return LinePlot("Information kept", "tokens that one latent holds (P)", "share of the bits kept",
                  series);
}

Status Run(const Options& options) {
  KeptOptions kept = options.kept;
  MSA_RETURN_IF_ERROR(options.Fill(&kept));
  MSA_ASSIGN_OR_RETURN(const KeptReport report, EvaluateKept(options.corpora, kept));
  options.json ? PrintJson(ToJson(report)) : Print(report);
  return options.plot.empty() ? OkStatus() : WritePlot(options.plot, Plot(report));
}

}  // namespace

void DeclareEvalKept(CLI::App& eval, int* exit_status) {
  auto options = std::make_shared<Options>();
  options->sample = options->kept.sample;
  CLI::App* command = eval.add_subcommand(
      "kept", "How much of a text its latents keep, by rate and by kind of token");
  command
      ->add_option("CORPUS", options->corpora,
                   "Files of rows {\"id\"?, \"title\"?, \"text\"} (.jsonl or .jsonl.zst)")
      ->required();
  command->add_option("--examples", options->kept.examples, "Worst tokens to print for each rate")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  options->AddEval(*command, "passages of each corpus");
  command->get_option("--sample")->check(CLI::PositiveNumber)->description("How many passages");
  command->remove_option(command->get_option("--chunk-tokens"));
  command
      ->add_option("--chunk-tokens", options->kept.chunk_tokens,
                   "Rates to measure: tokens that one latent holds")
      ->delimiter(',')
      ->check(CLI::Range(1, 65536))
      ->capture_default_str()
      ->group("Memory");
  options->AddPlot(*command, "the rate-distortion curve");
  command->callback(
      [options, exit_status] { *exit_status = Finish(Run(*options), options->json); });
}

}  // namespace msa::cli
