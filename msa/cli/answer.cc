#include "msa/cli/answer.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/engine/json.h"

namespace msa::cli {
namespace {

constexpr size_t kRetrievedShown = 5;

void PrintCitations(const AskResponse& response) {
  if (response.retrieved.empty()) {
    std::printf("Nothing in the bank matches the question.\n");
    return;
  }
  if (!response.answered) {
    std::printf("\nNothing in the bank supports this answer: do not rely on it.\n");
  } else {
    std::printf("\nCited:\n");
  }
  int number = 0;
  for (const Citation& citation : response.citations) {
    std::string heads;
    for (const auto& [head, rank] : citation.evidence.heads)
      heads += (heads.empty() ? "" : ", ") + head;
    std::printf(" [%d] \"%s\"\n     %s, found by %s\n     > %s\n", ++number,
                Snippet(citation.sentence, 100).c_str(), DescribePlace(citation.evidence).c_str(),
                heads.c_str(), Snippet(citation.evidence.text, 300).c_str());
  }
  std::printf("Retrieved:\n");
  for (size_t i = 0; i < std::min(kRetrievedShown, response.retrieved.size()); ++i) {
    std::printf("  - %s\n", DescribePlace(response.retrieved[i]).c_str());
  }
}

}  // namespace

void AnswerOptions::AddAnswer(CLI::App& command) {
  command.add_option("-k", ask.search.k, "Passages to select")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddHops(command, &ask.search.hops);
  command
      .add_option("--read", read_,
                  "What the model reads: original text, latents, or both; if not given, both where "
                  "the adapter has a reader for that, else text")
      ->check(CLI::IsMember({"text", "latents", "both"}));
  command
      .add_option("--read-passages", ask.read_passages,
                  "How many passages, or stretches of them, the model reads")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      .add_option("--read-sentences", ask.read_sentences,
                  "Sentences of each that it reads; 0: the whole passage")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command.add_option("--max-tokens", ask.max_tokens, "Longest answer")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--stop", ask.stop, "End the answer before this text; repeatable")
      ->allow_extra_args(false);
  command.add_option("--temperature", ask.sampling.temperature, "0: always the likeliest token")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str()
      ->group("Sampling");
  command.add_option("--top-k", ask.sampling.top_k, "Draw among the K likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group("Sampling");
  command
      .add_option("--top-p", ask.sampling.top_p,
                  "Draw among the likeliest tokens that hold this probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group("Sampling");
  command.add_option("--seed", ask.sampling.seed, "Of the draws")
      ->capture_default_str()
      ->group("Sampling");
}

Result<AskOptions> AnswerOptions::Ask() const {
  AskOptions options = ask;
  options.read = ReadModeByName(read_);
  MSA_ASSIGN_OR_RETURN(options.search.where, Where());
  options.search.at = At();
  return options;
}

int AskAndPrint(Engine& engine, const AnswerOptions& options, const AskOptions& ask,
                const Question& question, AskResponse* response) {
  const OnText print = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  auto result = engine.Ask(question.text, ask, options.json ? OnText() : print);
  if (!result.ok()) return ReportError(result.status(), options.json);
  *response = std::move(result).value();
  if (options.json) {
    auto json = ToJson(*response);
    if (question.id) json["id"] = nlohmann::ordered_json::parse(*question.id);
    PrintJson(json);
  } else {
    std::printf("\n");
    PrintCitations(*response);
    std::fflush(stdout);
  }
  if (ask.search.at.valid() && !options.quiet && response->unencoded_passages > 0) {
    std::fprintf(stderr, "%s\n",
                 UnencodedNote(options.bank, response->unencoded_passages, ask.search.at).c_str());
  }
  if (!options.quiet) PrintUnkeptNote(response->unkept_passages);
  return response->answered ? kDone : kPartly;
}

}  // namespace msa::cli
