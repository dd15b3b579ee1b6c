#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

int Run(const CommonOptions& options) {
  const auto engine_options = options.Engine();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const auto report = (*engine)->Encode();
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*report));
  } else {
    std::printf("%s; %lld left\n", DescribeEncoded(*report).c_str(),
                static_cast<long long>(report->left_passages));
  }
  return report->cancelled ? kInterrupted : kDone;
}

}  // namespace

void DeclareEncode(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command = app.add_subcommand("encode", "Compute the latents that a bank lacks");
  options->AddBank(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
