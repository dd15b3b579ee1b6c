// What `ask` and `chat` share: the options of an answer, and how one is printed.
#pragma once

#include "msa/cli/common.h"

namespace msa::cli {

struct AnswerOptions : CommonOptions {
  AskOptions ask;

  void AddAnswer(CLI::App& command);
  Result<AskOptions> Ask() const;

 private:
  std::string read_;  // empty: as AskOptions says
};

// Asks, printing the answer as it comes, then its citations, then what was only retrieved. With
// `json`: one object. Fills `response` where there is one.
int AskAndPrint(Engine& engine, const AnswerOptions& options, const AskOptions& ask,
                const Question& question, AskResponse* response);

}  // namespace msa::cli
