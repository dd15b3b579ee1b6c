#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string folder;
  bool dry_run = false;
  bool no_encode = false;
};

void Print(const Options& options, const SyncReport& report) {
  if (options.json) {
    auto json = ToJson(report);
    json["dry_run"] = options.dry_run;
    PrintJson(json);
    return;
  }
  int64_t removed = 0;
  for (const DocumentChange& change : report.changes) {
    removed += change.change == ChangeKind::kRemoved;
  }
  if (options.dry_run) PrintChanges(report.changes);
  std::printf("%s%lld removed, ", options.dry_run ? "dry run, nothing was changed: " : "",
              static_cast<long long>(removed));
  PrintAdded(report.add);
}

int Run(const Options& options) {
  const auto engine_options = options.Engine();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  // A dry run makes no bank either.
  auto engine = options.dry_run ? Engine::Open(options.bank, *engine_options)
                                : Engine::OpenOrCreate(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const auto report = (*engine)->Sync(
      options.folder, {.dry_run = options.dry_run, .encode = !options.no_encode, .load = {}});
  if (!report.ok()) return ReportError(report.status(), options.json);
  Print(options, *report);
  PrintAddNotes(options, report->add);
  if (report->add.cancelled) return kInterrupted;
  return report->add.failures.empty() ? kDone : kPartly;
}

}  // namespace

void DeclareSync(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "sync",
      "Make a bank follow a folder, in one revision: add what is new, replace what changed, remove "
      "what is gone. Files that cannot be read keep their documents");
  options->AddBank(*command);
  command->add_option("FOLDER", options->folder, "The folder to follow")->required();
  command->add_flag("--dry-run", options->dry_run, "Say what would change, and change nothing");
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
