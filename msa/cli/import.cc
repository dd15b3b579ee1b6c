#include <cstdio>

#include "msa/bank/latents_file.h"
#include "msa/cli/common.h"
#include "msa/text/loader.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> paths;
  std::string latents;
  bool no_encode = false;
};

// Empty: it is JSON Lines by its name, or standard input.
std::string CheckIsJsonLines(const std::string& path) {
  if (path == "-" || IsJsonLinesName(path)) return "";
  return path + " is not named .jsonl or .ndjson; msa add takes files of other kinds";
}

Result<std::shared_ptr<const LatentsFile>> OpenLatents(const Options& options) {
  auto file = LatentsFile::Open(options.latents, options.Progress(), &InterruptFlag());
  if (file.status().code() != StatusCode::kDataLoss) return file;
  return DataLoss(file.status().message() +
                  "; nothing was imported. Without --latents the passages are encoded instead");
}

Result<AddReport> Import(const Options& options) {
  MSA_ASSIGN_OR_RETURN(EngineOptions engine_options, options.Engine());
  // Before a bank is made: what is damaged changes nothing.
  if (!options.latents.empty()) {
    MSA_ASSIGN_OR_RETURN(engine_options.latents, OpenLatents(options));
  }
  MSA_ASSIGN_OR_RETURN(const auto engine,
                       Engine::OpenOrCreate(options.bank, std::move(engine_options)));
  return engine->Add(options.paths, {.encode = !options.no_encode});
}

int Run(const Options& options) {
  const auto report = Import(options);
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (!options.latents.empty() && !options.quiet) {
    std::fprintf(stderr, "note: %lld passages got their latents from %s, %lld were encoded\n",
                 static_cast<long long>(report->imported_passages), options.latents.c_str(),
                 static_cast<long long>(report->encoded_passages));
  }
  return ReportAdded(options, *report);
}

}  // namespace

void DeclareImport(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "import",
      "Add what `msa export` printed to a bank, made if absent; with --latents its passages need "
      "not be encoded again");
  options->AddBank(*command);
  command->add_option("JSONL", options->paths, "Files of JSON Lines; - reads standard input")
      ->required()
      ->check(CLI::Validator(CheckIsJsonLines, "FILE"));
  command->add_flag("--no-encode", options->no_encode,
                    "Encode nothing; `msa encode` does what is missing");
  options->AddReadmit(*command);
  options->AddWriting(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  options->AddMemory(*command);
  CLI::Option* latents = command->add_option(
      "--latents", options->latents,
      "Latents that `msa export --latents` wrote with it: passages with the same tokens take "
      "theirs, the others are encoded");
  // A new bank takes the shapes of the latents.
  for (CLI::Option* shape : command->get_options()) {
    if (shape->get_group() == "New bank") latents->excludes(shape);
  }
  options->AddEncrypt(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
