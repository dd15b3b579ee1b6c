#include <cstdio>
#include <iostream>

#include "msa/cli/answer.h"

namespace msa::cli {
namespace {

struct Options : AnswerOptions {
  std::string question;
};

int Run(const Options& options) {
  const auto engine_options = options.Engine();
  const auto ask = options.Ask();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  if (!ask.ok()) return ReportError(ask.status(), options.json);
  auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  AskResponse response;
  if (options.question != "-") {
    return AskAndPrint(**engine, options, *ask, {std::nullopt, options.question}, &response);
  }
  int exit_status = kDone;
  const Status status = ReadQuestions(std::cin, [&](const Question& question) {
    if (!options.json) std::printf("? %s\n", question.text.c_str());
    const int answered = AskAndPrint(**engine, options, *ask, question, &response);
    if (answered != kDone) exit_status = answered;
    return (answered == kDone || answered == kPartly) && !InterruptFlag();
  });
  if (!status.ok()) return ReportError(status, options.json);
  return exit_status;
}

}  // namespace

void DeclareAsk(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("ask", "Answer a question from a bank, with citations");
  options->AddBank(*command);
  command
      ->add_option("QUESTION", options->question,
                   "The question; - reads one a line from standard input (or JSON lines with "
                   "\"id\" and \"query\")")
      ->required();
  options->AddAnswer(*command);
  options->AddWhere(*command);
  options->AddAt(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
