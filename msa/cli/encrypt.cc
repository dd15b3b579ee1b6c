#include "msa/bank/encrypt.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string encrypted;
};

void Print(const Options& options, const EncryptReport& report) {
  std::printf("%lld documents encrypted, %lld passages with latents; revision %lld\n",
              static_cast<long long>(report.documents),
              static_cast<long long>(report.passages_with_latents),
              static_cast<long long>(report.revision.value));
  for (const std::string& key : report.unkept) {
    std::printf("left out, its text is not kept: %s\n", key.c_str());
  }
  if (!options.quiet) {
    std::fprintf(stderr,
                 "note: %s is as it was, in plain, with all its revisions; what it and its backups "
                 "hold stays readable until they are gone\n",
                 options.bank.c_str());
  }
}

Result<EncryptReport> Encrypt(const Options& options) {
  EncryptOptions encrypt;
  encrypt.progress = options.Progress();
  encrypt.cancelled = &InterruptFlag();
  encrypt.author = options.engine.author;
  MSA_ASSIGN_OR_RETURN(EncryptReport report, EncryptBank(options.bank, options.encrypted, encrypt));
  if (options.json) {
    PrintJson({{"from", report.from.value},
               {"revision", report.revision.value},
               {"documents", report.documents},
               {"passages_with_latents", report.passages_with_latents},
               {"unkept", report.unkept}});
  } else {
    Print(options, report);
  }
  return report;
}

int Run(const Options& options) {
  const auto report = Encrypt(options);
  if (!report.ok()) return ReportError(report.status(), options.json);
  return report->unkept.empty() ? kDone : kPartly;
}

}  // namespace

void DeclareEncrypt(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "encrypt",
      "Make a new encrypted bank with the documents of a bank in plain, as they are now, and their "
      "latents.\nThe plain bank stays as it is.");
  options->AddBank(*command);
  command->add_option("NEW", options->encrypted, "Where the encrypted bank is to be")->required();
  command->add_option("--author", options->engine.author,
                      "Who adds the documents to it (default: the name of the user)");
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
