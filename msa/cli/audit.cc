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
  bool without_keys = false;
};

Status Sign(const Options& options, Bank& bank) {
  MSA_ASSIGN_OR_RETURN(const auto writer, bank.StartWrite());
  MSA_ASSIGN_OR_RETURN(const std::string text, writer->Certify(options.key));
  return WriteFileAtomically(PosixFileSystem(), options.certificate, text);
}

Result<AuditReport> Verify(const Options& options) {
  std::optional<std::string> anchor;
  if (!options.anchor.empty()) {
    MSA_ASSIGN_OR_RETURN(anchor, ReadFile(options.anchor, kMaxCertificateBytes));
  }
  if (options.without_keys) return Bank::AuditWithoutKeys(options.bank, anchor, options.Progress());
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(AuditReport report, bank->Audit(anchor, options.Progress()));
  if (!options.certificate.empty()) MSA_RETURN_IF_ERROR(Sign(options, *bank));
  return report;
}

void Print(const AuditReport& report) {
  const bool is_whole = report.unchecked.empty();
  std::printf(
      "%s: %lld revisions, %lld chain entries, %s verified; head %s\n",
      is_whole ? "sound" : "sound as far as it shows without keys",
      static_cast<long long>(report.revisions), static_cast<long long>(report.chain_entries),
      HumanBytes(static_cast<double>(report.verified_bytes)).c_str(), report.chain_head.c_str());
  for (const std::string& what : report.unchecked) std::printf("not checked: %s\n", what.c_str());
}

int Run(const Options& options) {
  const auto report = Verify(options);
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*report));
  } else {
    Print(*report);
  }
  return report->unchecked.empty() ? kDone : kPartly;
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
  CLI::Option* certificate =
      command->add_option("--certificate", options->certificate,
                          "If all is sound, write a signed certificate of the head to this file");
  AddSigningKey(*command, &options->key);
  command
      ->add_flag("--without-keys", options->without_keys,
                 "Of an encrypted bank, verify what shows without its keyring and master key, and "
                 "say what does not: exit status 3")
      ->excludes(certificate);
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
