#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/bank/backup.h"
#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string backup;
  std::vector<std::string> current;
};

void Print(const Options& options, const RestoreReport& report) {
  std::printf("%lld documents restored, revision %lld; %zu erased again\n",
              static_cast<long long>(report.documents),
              static_cast<long long>(report.revision.value), report.erased.size());
  for (const std::string& key : report.readmitted) {
    std::printf("readmitted: %s\n", key.c_str());
  }
  if (options.current.empty() && !options.quiet) {
    std::fprintf(stderr,
                 "note: what was erased after this backup was made is back; --current with the "
                 "bank it replaces, or with certificates of erasure, keeps it out\n");
  }
}

Status Restore(const Options& options) {
  RestoreOptions restore;
  restore.progress = options.Progress();
  restore.cancelled = &InterruptFlag();
  restore.current = options.current;
  restore.readmit = options.engine.readmit;
  restore.author = options.engine.author;
  MSA_ASSIGN_OR_RETURN(const RestoreReport report,
                       RestoreBank(options.backup, options.bank, restore));
  if (options.json) {
    PrintJson(ToJson(report));
  } else {
    Print(options, report);
  }
  return OkStatus();
}

}  // namespace

void DeclareRestore(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "restore", "Make a new bank from a backup, verified, without what was erased since");
  command->add_option("BACKUP", options->backup, "Folder of the backup")->required();
  options->AddBank(*command);
  command
      ->add_option("--current", options->current,
                   "The bank that this one replaces, however damaged, or a certificate of "
                   "erasure: what was erased since the backup stays out; repeatable")
      ->allow_extra_args(false);
  options->AddReadmit(*command);
  command->add_option("--author", options->engine.author,
                      "Who erases it again (default: the name of the user)");
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Restore(*options), options->json); });
}

}  // namespace msa::cli
