#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  int64_t from = 0;
  int64_t to = 0;
};

Status Diff(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(const auto changes,
                       bank->Diff(RevisionId{options.from}, RevisionId{options.to}));
  if (!options.json) {
    PrintChanges(changes);
    return OkStatus();
  }
  for (const DocumentChange& change : changes) {
    std::cout << JsonText(ToJson(change)) << "\n";
  }
  return OkStatus();
}

}  // namespace

void DeclareDiff(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("diff", "Which documents change on the way from one revision to another");
  options->AddBank(*command);
  command->add_option("FROM", options->from, "Revision, 0: the empty bank")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("TO", options->to, "Revision")->required()->check(CLI::NonNegativeNumber);
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Diff(*options), options->json); });
}

}  // namespace msa::cli
