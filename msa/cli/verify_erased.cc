#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string certificate;
  std::string content;
};

Result<ErasureProof> Verify(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(const std::string certificate,
                       ReadFile(options.certificate, kMaxCertificateBytes));
  std::optional<std::string> content;
  if (!options.content.empty()) {
    MSA_ASSIGN_OR_RETURN(content, ReadFile(options.content));
  }
  return bank->VerifyErased(certificate, content, options.Progress());
}

int Run(const Options& options) {
  const auto proof = Verify(options);
  if (!proof.ok()) return ReportError(proof.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*proof));
  } else {
    std::printf(
        "verified: nothing is left of %lld documents; every byte of the folder belongs to "
        "others. Copies made elsewhere are not covered.\n",
        static_cast<long long>(proof->documents));
    for (const std::string& key : proof->sharing) {
      std::printf("shares text with the content given: %s\n", key.c_str());
    }
  }
  return proof->sharing.empty() ? kDone : kPartly;
}

}  // namespace

void DeclareVerifyErased(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "verify-erased", "Verify that a bank still is what a certificate of erasure says");
  options->AddBank(*command);
  command->add_option("FILE", options->certificate, "The certificate")->required();
  command->add_option("--content", options->content,
                      "Text of what was erased: also name documents that share words with it");
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
