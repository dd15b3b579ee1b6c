#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "msa/cli/answer.h"

namespace msa::cli {
namespace {

// Turns that stay in the conversation; older ones are forgotten so that the context never fills.
constexpr size_t kHistoryMessages = 6;

int Run(const AnswerOptions& options) {
  const auto engine_options = options.Engine();
  auto ask = options.Ask();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  if (!ask.ok()) return ReportError(ask.status(), options.json);
  auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const bool prompt = isatty(STDIN_FILENO) == 1 && !options.json;
  if (prompt)
    std::printf("Ask about the documents in %s; an empty line or Ctrl-D ends.\n",
                options.bank.c_str());
  int exit_status = kDone;
  std::string line;
  for (;;) {
    if (prompt) std::printf("\n> "), std::fflush(stdout);
    if (!std::getline(std::cin, line) || line.empty() || InterruptFlag()) break;
    AskResponse response;
    exit_status = AskAndPrint(**engine, options, *ask, {std::nullopt, line}, &response);
    if (exit_status == kInterrupted) break;
    if (exit_status == kFailed) continue;
    std::vector<ChatMessage>& history = ask->history;
    history.push_back({"user", line});
    history.push_back({"assistant", response.answer});
    if (history.size() > kHistoryMessages) history.erase(history.begin(), history.begin() + 2);
  }
  return InterruptFlag() ? static_cast<int>(kInterrupted) : exit_status;
}

}  // namespace

void DeclareChat(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<AnswerOptions>();
  CLI::App* command =
      app.add_subcommand("chat", "Ask again and again; each question sees the last answers");
  options->AddBank(*command);
  options->AddAnswer(*command);
  options->AddWhere(*command);
  options->AddAt(*command);
  options->AddOutput(*command);
  options->AddModel(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
