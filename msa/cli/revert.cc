#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  int64_t revision = 0;
};

Status Revert(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const EngineOptions engine_options, options.Engine());
  MSA_ASSIGN_OR_RETURN(const auto engine, Engine::Open(options.bank, engine_options));
  MSA_ASSIGN_OR_RETURN(const RevisionId made, engine->Revert(RevisionId{options.revision}));
  if (options.json) {
    const nlohmann::ordered_json json = {{"revision", made.value}, {"parent", options.revision}};
    PrintJson(json);
  } else {
    std::printf("revision %lld is as revision %lld was\n", static_cast<long long>(made.value),
                static_cast<long long>(options.revision));
  }
  return OkStatus();
}

}  // namespace

void DeclareRevert(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "revert",
      "Go back to a revision, by a new one: nothing is lost, and that can be taken back too");
  options->AddBank(*command);
  command->add_option("REV", options->revision, "The revision to go back to")
      ->required()
      ->check(CLI::PositiveNumber);
  options->AddWriting(*command);
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Revert(*options), options->json); });
}

}  // namespace msa::cli
