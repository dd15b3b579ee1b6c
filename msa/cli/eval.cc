#include "msa/cli/eval.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/eval/memories.h"

namespace msa::cli {

void EvalOptions::AddEval(CLI::App& command, const std::string& what) {
  command.add_option("--sample", sample, "How many " + what + "; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--seed", seed, "Of what is drawn")->capture_default_str();
  AddOutput(command);
  AddModel(command);
  AddMemory(command, "Memory");
}

void EvalOptions::AddPlot(CLI::App& command, const std::string& what) {
  command.add_option("--plot", plot, "Write " + what + " to this file, as SVG");
}

Result<EngineOptions> EvalOptions::Engine() const {
  if (EvalAdapterPath(engine).empty() && !quiet) {
    std::fprintf(stderr, "note: no adapter, so latents are untrained means\n");
  }
  return CommonOptions::Engine();
}

void DeclareEval(CLI::App& app, int* exit_status) {
  CLI::App* eval = app.add_subcommand(
      "eval", "Measure what latents keep, find and cost, on documents and questions of your own");
  eval->require_subcommand(1);
  eval->footer("Definitions and limits: docs/evaluation.md.");
  DeclareEvalRetrieval(*eval, exit_status);
  DeclareEvalLanguage(*eval, exit_status);
  DeclareEvalKept(*eval, exit_status);
  DeclareEvalReading(*eval, exit_status);
  DeclareEvalNeedles(*eval, exit_status);
}

}  // namespace msa::cli
