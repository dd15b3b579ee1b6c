#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

void Print(const MigrateReport& report) {
  const std::string to = report.to.substr(0, 12);
  if (report.encode.passages == 0 && !report.moved && !report.encode.cancelled) {
    std::printf("the bank's latents are of encoding %s already\n", to.c_str());
    return;
  }
  std::printf("%s\n", DescribeEncoded(report.encode).c_str());
  if (report.encode.left_passages > 0) {
    std::printf("%lld left; the bank answers as before until they are done: run this again\n",
                static_cast<long long>(report.encode.left_passages));
  } else if (report.moved && !report.from.empty()) {
    std::printf("moved from encoding %s to %s\n", report.from.substr(0, 12).c_str(), to.c_str());
  }
}

int Run(const CommonOptions& options) {
  const auto engine_options = options.Engine();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const auto report = (*engine)->Migrate();
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*report));
  } else {
    Print(*report);
  }
  return report->encode.cancelled ? kInterrupted : kDone;
}

}  // namespace

void DeclareMigrate(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command =
      app.add_subcommand("migrate",
                         "Move a bank to another model, adapter or shape of latents: those of "
                         "the latest revision are computed\nanew beside the old ones, which answer "
                         "until then and go at the end. Goes on where it was stopped.");
  options->AddBank(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  options->AddMemory(*command, "Memory");
  command->remove_option(command->get_option("--passage-tokens"));  // passages stay as they are
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
