#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> documents;
};

Status Remove(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const LabelFilter where, options.Where());
  if (options.documents.empty() && where.empty()) {
    return InvalidArgument("name documents, or give --where KEY=VALUE");
  }
  MSA_ASSIGN_OR_RETURN(const EngineOptions engine_options, options.Engine());
  MSA_ASSIGN_OR_RETURN(const auto engine, Engine::Open(options.bank, engine_options));
  MSA_ASSIGN_OR_RETURN(const RemoveReport report, engine->Remove(options.documents, where));
  if (options.json) {
    PrintJson(ToJson(report));
  } else {
    std::printf("%zu removed; revision %lld\n", report.removed.size(),
                static_cast<long long>(report.revision.value));
  }
  return OkStatus();
}

}  // namespace

void DeclareRemove(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "remove",
      "Remove documents from a bank; older revisions keep them, and `msa revert` brings them back");
  options->AddBank(*command);
  command->add_option("DOC", options->documents, "Ids, keys, or unique parts of keys or titles");
  options->AddWhere(*command);
  options->AddWriting(*command);
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Remove(*options), options->json); });
}

}  // namespace msa::cli
