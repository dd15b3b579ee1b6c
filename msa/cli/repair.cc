#include "msa/bank/repair.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  RepairOptions repair;
};

nlohmann::ordered_json Describe(const RepairReport& report) {
  nlohmann::ordered_json json = {{"sound", report.is_sound()},
                                 {"texts", nlohmann::ordered_json::array()},
                                 {"latent_passages", report.latent_passages},
                                 {"files", report.files},
                                 {"shards", report.shards},
                                 {"head", report.head},
                                 {"index", report.index},
                                 {"lost_commits", report.lost_commits},
                                 {"lost_erasures", report.lost_erasures},
                                 {"revision", report.revision.value}};
  for (const RepairReport::Text& text : report.texts) {
    json["texts"].push_back(
        {{"document", text.document}, {"born", text.born.value}, {"latest", text.is_latest}});
  }
  return json;
}

void Print(const RepairReport& report, bool dry_run) {
  if (report.is_sound()) {
    std::printf("nothing is damaged\n");
    return;
  }
  for (const std::string& file : report.files) std::printf("damaged: %s\n", file.c_str());
  if (report.index) std::printf("damaged: indexes of the catalog\n");
  if (report.lost_commits > 0) {
    std::printf(
        "lost: %lld commits that `head` knows and the catalog does not. If its -wal file can be "
        "found, put it back before repairing.\n",
        static_cast<long long>(report.lost_commits));
  } else if (report.head) {
    std::printf("damaged: head\n");
  }
  if (report.lost_erasures) {
    std::printf("lost: erasures; erase those documents again\n");
  }
  for (const RepairReport::Text& text : report.texts) {
    std::printf("lost: the text of %s as of revision %lld%s\n", text.document.c_str(),
                static_cast<long long>(text.born.value),
                text.is_latest ? "; add it again" : ", which was superseded");
  }
  std::printf(
      "%s: %zu texts lost, %lld passages without latents, %lld lexical shards made anew; "
      "revision %lld\n",
      dry_run ? "would be" : "repaired", report.texts.size(),
      static_cast<long long>(report.latent_passages), static_cast<long long>(report.shards),
      static_cast<long long>(report.revision.value));
}

int Run(const Options& options) {
  RepairOptions repair = options.repair;
  repair.progress = options.Progress();
  const auto report = RepairBank(options.bank, repair);
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (options.json) {
    PrintJson(Describe(*report));
  } else {
    Print(*report, options.repair.dry_run);
  }
  const bool is_whole = options.repair.dry_run ? report->is_sound() : !report->lost_anything();
  return is_whole ? kDone : kPartly;
}

}  // namespace

void DeclareRepair(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "repair",
      "Drop what is damaged in a bank, make anew what can be, and say what is lost. Exit status 3 "
      "if a text or a commit is");
  options->AddBank(*command);
  command->add_flag("--dry-run", options->repair.dry_run,
                    "Say what it would do, and change nothing; exit status 3 if it would");
  command->add_option("--author", options->repair.author,
                      "Who makes the revision that removes documents without text (default: the "
                      "name of the user)");
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
