#include "msa/bank/backup.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string folder;
};

Status Backup(const Options& options) {
  MSA_ASSIGN_OR_RETURN(
      const BackupReport report,
      BackupBank(options.bank, options.folder, {options.Progress(), &InterruptFlag()}));
  if (options.json) {
    PrintJson(ToJson(report));
  } else {
    std::printf("backed up revision %lld: %s copied, %s were there\n",
                static_cast<long long>(report.revision.value),
                HumanBytes(static_cast<double>(report.copied_bytes)).c_str(),
                HumanBytes(static_cast<double>(report.kept_bytes)).c_str());
  }
  return OkStatus();
}

}  // namespace

void DeclareBackup(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "backup",
      "Copy a bank as it is now to another folder, while others may write to it. Into the same "
      "folder again: only what is new or changed, and what was erased goes");
  options->AddBank(*command);
  command->add_option("FOLDER", options->folder, "Where the backup is, or is to be")->required();
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Backup(*options), options->json); });
}

}  // namespace msa::cli
