#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

Status List(const CommonOptions& options) {
  MSA_ASSIGN_OR_RETURN(const LabelFilter filter, options.Where());
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(const auto snapshot, options.OpenSnapshot(*bank));
  return snapshot->ForEachDocument(filter, [&](const DocumentInfo& document) {
    if (options.json) {
      std::cout << JsonText(ToJson(document)) << "\n";
    } else {
      std::printf(
          "%6lld  %6lld passages  %9s  %s  (%s)%s\n", static_cast<long long>(document.id.value),
          static_cast<long long>(document.num_passages),
          HumanBytes(static_cast<double>(document.text_bytes)).c_str(), document.title.c_str(),
          document.key.c_str(), document.text_kept ? "" : "  text not kept");
    }
    return !InterruptFlag();
  });
}

}  // namespace

void DeclareList(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command = app.add_subcommand("list", "List the documents of a bank");
  options->AddBank(*command);
  options->AddWhere(*command);
  options->AddAt(*command);
  options->AddOutput(*command);
  command->callback(
      [options, exit_status] { *exit_status = Finish(List(*options), options->json); });
}

}  // namespace msa::cli
