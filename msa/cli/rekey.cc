#include "msa/bank/rekey.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string master_key;
};

Status Rekey(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const RekeyReport report, RekeyBank(options.bank, options.master_key));
  if (options.json) {
    PrintJson({{"keyring", report.keyring}, {"master_key", report.master_key}});
  } else {
    std::printf("%s opens with %s, and not with the master key before\n", report.keyring.c_str(),
                report.master_key.c_str());
  }
  return OkStatus();
}

}  // namespace

void DeclareRekey(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("rekey",
                         "Give an encrypted bank another master key: its keyring is written anew, "
                         "the bank stays as it "
                         "is.\nCopies of the old keyring still open with the old key.");
  options->AddBank(*command);
  command
      ->add_option("--new-master-key", options->master_key,
                   "File of the new master key, made if absent; give it, or set it, from then on")
      ->type_name("FILE")
      ->required();
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Rekey(*options), options->json); });
}

}  // namespace msa::cli
