#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  int64_t limit = 0;
};

void Print(const RevisionInfo& revision) {
  std::printf("revision %lld", static_cast<long long>(revision.id.value));
  if (revision.kind == RevisionKind::kRevert) {
    std::printf(", back to %lld", static_cast<long long>(revision.parent.value));
  }
  std::printf("  %s  %s\n", FormatUtc(revision.unix_ms).c_str(), revision.author.c_str());
  if (!revision.message.empty()) std::printf("    %s\n", revision.message.c_str());
  PrintChanges(revision.changes);
}

Status Log(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  int64_t printed = 0;
  return bank->Log([&](const RevisionInfo& revision) {
    if (options.json) {
      std::cout << JsonText(ToJson(revision)) << "\n";
    } else {
      Print(revision);
    }
    return ++printed != options.limit && !InterruptFlag();
  });
}

}  // namespace

void DeclareLog(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("log", "Who changed what, when and why: every revision, newest first");
  options->AddBank(*command);
  command->add_option("-n,--limit", options->limit, "Only the newest N; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Log(*options), options->json); });
}

}  // namespace msa::cli
