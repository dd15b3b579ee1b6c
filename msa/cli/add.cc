#include "msa/cli/common.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> paths;
  bool no_encode = false;
};

int Run(const Options& options) {
  const auto engine_options = options.Engine();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  auto engine = Engine::OpenOrCreate(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const auto report = (*engine)->Add(options.paths, {.encode = !options.no_encode});
  return report.ok() ? ReportAdded(options, *report) : ReportError(report.status(), options.json);
}

}  // namespace

void DeclareAdd(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "add", "Add files, folders or standard input (-) to a bank, made if absent");
  options->AddBank(*command);
  command
      ->add_option("PATH", options->paths,
                   "Files (.txt .md .html .pdf .jsonl …) and folders; - reads standard input")
      ->required();
  command->add_flag("--no-encode", options->no_encode,
                    "Store text and lexical index only; `msa encode` does the rest");
  options->AddReadmit(*command);
  options->AddEncrypt(*command);
  options->AddWriting(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  options->AddMemory(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
