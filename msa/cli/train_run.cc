// `msa train run`: trains an adapter.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/base/file.h"
#include "msa/cli/common.h"
#include "msa/train/train.h"

namespace msa::cli {
namespace {

struct Options {
  std::string config;
  std::string device;
  std::string start;
  bool fresh = false;
  bool json = false;
  bool quiet = false;
};

nlohmann::ordered_json ToJson(const TrainReport& report) {
  return {{"steps", report.steps},
          {"passage_tokens", report.passage_tokens},
          {"reader_tokens", report.reader_tokens},
          {"seconds", report.seconds},
          {"check", report.check},
          {"adapter", report.adapter},
          {"cancelled", report.cancelled}};
}

Result<TrainReport> Train(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.config));
  MSA_ASSIGN_OR_RETURN(TrainConfig config, TrainConfig::FromJson(text));
  if (!options.device.empty()) config.device = options.device;
  if (config.model.empty()) {
    MSA_ASSIGN_OR_RETURN(config.model, DefaultModelPath());
  }
  TrainRunOptions run;
  run.resume = !options.fresh;
  run.start = options.start;
  run.progress = options.quiet ? ProgressMode::kOff : ProgressMode::kAuto;
  run.cancelled = &InterruptFlag();
  return TrainAdapter(config, run);
}

int Run(const Options& options) {
  const auto report = Train(options);
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*report));
  } else {
    std::printf("%lld steps, %s passage tokens in %.0f s\n", static_cast<long long>(report->steps),
                HumanCount(static_cast<double>(report->passage_tokens)).c_str(), report->seconds);
    for (const auto& [name, value] : report->check)
      std::printf("  %-10s %.4f\n", name.c_str(), value);
    std::printf("%s\n", report->adapter.c_str());
  }
  return report->cancelled ? kInterrupted : kDone;
}

}  // namespace

void DeclareTrainRun(CLI::App& train, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = train.add_subcommand("run", "Train an adapter; goes on from its checkpoint");
  command->add_option("--config", options->config, "JSON file: docs/training.md")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--device", options->device,
                      "cpu, cuda, cuda:N or several (cuda:0,cuda:1), instead of the file's");
  command
      ->add_option("--start", options->start,
                   "Begin with the values of this checkpoint or adapter, at step 0")
      ->check(CLI::ExistingFile);
  command->add_flag("--fresh", options->fresh, "Begin anew though there is a checkpoint");
  command->add_flag("--json", options->json, "Print the report as JSON");
  command->add_flag("-q,--quiet", options->quiet, "No progress bar");
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
