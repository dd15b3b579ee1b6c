#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string anchor;
  std::string certificate;
  std::string key;
};

Status Sign(const Options& options, Bank& bank) {
  MSA_ASSIGN_OR_RETURN(const auto writer, bank.StartWrite());
  MSA_ASSIGN_OR_RETURN(const std::string text, writer->Certify(options.key));
  return WriteFileAtomically(PosixFileSystem(), options.certificate, text);
}

Status Audit(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  std::optional<std::string> anchor;
  if (!options.anchor.empty()) {
    MSA_ASSIGN_OR_RETURN(anchor, ReadFile(options.anchor, kMaxCertificateBytes));
  }
  MSA_ASSIGN_OR_RETURN(const AuditReport report, bank->Audit(anchor));
  if (!options.certificate.empty()) MSA_RETURN_IF_ERROR(Sign(options, *bank));
  if (options.json) {
    PrintJson(ToJson(report));
  } else {
    std::printf(
        "sound: %lld revisions, %lld chain entries, %s verified; head %s\n",
        static_cast<long long>(report.revisions), static_cast<long long>(report.chain_entries),
        HumanBytes(static_cast<double>(report.verified_bytes)).c_str(), report.chain_head.c_str());
  }
  return OkStatus();
}

}  // namespace

void DeclareAudit(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "audit",
      "Verify a bank from its chain of changes down to every byte; names the first bad thing");
  options->AddBank(*command);
  command->add_option("--anchor", options->anchor,
                      "Certificate signed earlier: the chain must continue from its head");
  command->add_option("--certificate", options->certificate,
                      "If all is sound, write a signed certificate of the head to this file");
  AddSigningKey(*command, &options->key);
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(Audit(*options), options->json); });
}

}  // namespace msa::cli
