// What the subcommands of `msa eval` share.
#pragma once

#include "msa/cli/common.h"

namespace msa::cli {

struct EvalOptions : CommonOptions {
  int64_t sample = 0;
  uint64_t seed = 0;
  std::string plot;

  // --sample (how many of `what`), --seed, output, model and shapes.
  void AddEval(CLI::App& command, const std::string& what);
  void AddPlot(CLI::App& command, const std::string& what);

  // Engine options, with a note on stderr where latents are untrained.
  Result<EngineOptions> Engine() const;
  // What the options of every measurement have in common.
  template <class Measure>
  Status Fill(Measure* measure) const {
    MSA_ASSIGN_OR_RETURN(measure->engine, Engine());
    measure->sample = sample;
    measure->seed = seed;
    return OkStatus();
  }
};

void DeclareEvalRetrieval(CLI::App& eval, int* exit_status);
void DeclareEvalLanguage(CLI::App& eval, int* exit_status);
void DeclareEvalKept(CLI::App& eval, int* exit_status);
void DeclareEvalReading(CLI::App& eval, int* exit_status);
void DeclareEvalNeedles(CLI::App& eval, int* exit_status);

}  // namespace msa::cli
