#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string query;
  std::string heads = "fused";
  int64_t k = 10;
  int64_t hops = 1;

  Result<SearchOptions> Search() const {
    SearchOptions search;
    search.heads = HeadsByName(heads).value_or(Heads::kFused);
    search.k = k;
    search.hops = hops;
    search.at = At();
    MSA_ASSIGN_OR_RETURN(search.where, Where());
    return search;
  }
};

void Print(const SearchResponse& response) {
  int rank = 0;
  for (const Retrieved& result : response.results) {
    std::printf("%2d. %s  ", ++rank, DescribePlace(result).c_str());
    for (const auto& [head, found] : result.heads) {
      std::printf(" %s #%lld (%.3f)", head.c_str(), static_cast<long long>(found.rank),
                  found.score);
    }
    std::printf("\n    %s\n", Snippet(result.text, 240).c_str());
  }
  if (response.results.empty()) std::printf("Nothing found.\n");
}

int Answer(Engine& engine, const Options& options, const SearchOptions& search,
           const Question& question) {
  const auto response = engine.Search(question.text, search);
  if (!response.ok()) return ReportError(response.status(), options.json);
  if (options.json) {
    auto json = ToJson(*response);
    if (question.id) json["id"] = nlohmann::ordered_json::parse(*question.id);
    PrintJson(json);
  } else {
    if (options.query == "-") std::printf("? %s\n", question.text.c_str());
    Print(*response);
    std::fflush(stdout);
  }
  if (!options.quiet && options.query != "-" && response->unencoded_passages > 0) {
    std::fprintf(stderr, "%s\n",
                 UnencodedNote(options.bank, response->unencoded_passages, options.At()).c_str());
  }
  if (!options.quiet) PrintUnkeptNote(response->unkept_passages);
  return kDone;
}

int Run(const Options& options) {
  const auto engine_options = options.Engine();
  const auto search = options.Search();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  if (!search.ok()) return ReportError(search.status(), options.json);
  auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  if (options.query != "-")
    return Answer(**engine, options, *search, {std::nullopt, options.query});
  int exit_status = kDone;
  const Status status = ReadQuestions(std::cin, [&](const Question& question) {
    exit_status = Answer(**engine, options, *search, question);
    return exit_status == kDone && !InterruptFlag();
  });
  if (!status.ok()) return ReportError(status, options.json);
  return InterruptFlag() ? static_cast<int>(kInterrupted) : exit_status;
}

}  // namespace

void DeclareSearch(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("search", "Find the passages that a query is about");
  options->AddBank(*command);
  command
      ->add_option("QUERY", options->query,
                   "The query; - reads one a line from standard input (or JSON lines with \"id\" "
                   "and \"query\")")
      ->required();
  command->add_option("-k", options->k, "How many passages")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  AddHeads(*command, &options->heads);
  AddHops(*command, &options->hops);
  options->AddWhere(*command);
  options->AddAt(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
