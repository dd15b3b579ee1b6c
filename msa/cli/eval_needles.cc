#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/eval.h"
#include "msa/eval/json.h"
#include "msa/eval/plot.h"

namespace msa::cli {
namespace {

struct Options : EvalOptions {
  std::string corpus;
  std::vector<std::string> lengths = {"16K", "64K", "256K", "1M"};
  std::vector<std::string> kinds{kNeedleKindNames.begin(), kNeedleKindNames.end()};
  std::string heads = "fused";
  std::string read;  // empty: as `msa ask` does
  NeedleOptions needles;
};

// "16K" is 16000.
Result<int64_t> ParseLength(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const int64_t factor = unit.empty() ? 1 : unit == "K" ? 1000 : unit == "M" ? 1'000'000 : 0;
  if (error != std::errc() || factor == 0 || value < 1 || value > 1'000'000'000) {
    return InvalidArgument("--lengths takes tokens like 16K or 1M, not \"" + text + "\"");
  }
  return value * factor;
}

double Share(int64_t part, const NeedleCell& cell) {
  return cell.needles > 0 ? static_cast<double>(part) / static_cast<double>(cell.needles) : 0;
}

// All kinds at one length and position.
NeedleCell AllKinds(const NeedleReport& report, size_t length, size_t position) {
  std::vector<NeedleCell> cells;
  for (const auto& row : report.cells[length]) cells.push_back(row[position]);
  return Sum(cells);
}

void PrintCell(const NeedleReport& report, const NeedleCell& cell) {
  std::printf("  found %5.1f %%", 100 * Share(cell.found, cell));
  if (report.answered) std::printf("  answered %5.1f %%", 100 * Share(cell.answered, cell));
  std::printf("  of %lld\n", static_cast<long long>(cell.needles));
}

void Print(const NeedleReport& report) {
  for (size_t length = 0; length < report.cells.size(); ++length) {
    std::printf("%s tokens\n", HumanCount(static_cast<double>(report.lengths[length])).c_str());
    for (size_t kind = 0; kind < kNeedleKinds; ++kind) {
      const NeedleCell cell = Sum(report.cells[length][kind]);
      if (cell.needles == 0) continue;
      std::printf("  %-12s", std::string(kNeedleKindNames[kind]).c_str());
      PrintCell(report, cell);
    }
    for (int64_t p = 0; p < report.positions; ++p) {
      std::printf("  at %3.0f %%    ", 100 * NeedlePosition(p, report.positions));
      PrintCell(report, AllKinds(report, length, static_cast<size_t>(p)));
    }
  }
}

std::string Plot(const NeedleReport& report) {
  std::vector<std::string> columns, rows;
  std::vector<std::vector<double>> values;
  for (const int64_t length : report.lengths) {
    columns.push_back(HumanCount(static_cast<double>(length)));
  }
  for (int64_t p = 0; p < report.positions; ++p) {
    char label[16];
    std::snprintf(label, sizeof(label), "%.0f %%", 100 * NeedlePosition(p, report.positions));
    rows.emplace_back(label);
    auto& row = values.emplace_back();
    for (size_t length = 0; length < report.cells.size(); ++length) {
      const NeedleCell cell = AllKinds(report, length, static_cast<size_t>(p));
      row.push_back(Share(report.answered ? cell.answered : cell.found, cell));
    }
  }
  return HeatMap(report.answered ? "Needles answered, %" : "Needles found, %", "tokens stored",
                 "position of the needle", columns, rows, values);
}

Result<NeedleOptions> Needles(const Options& options) {
  NeedleOptions needles = options.needles;
  MSA_RETURN_IF_ERROR(options.Fill(&needles));
  needles.lengths.clear();
  for (const std::string& text : options.lengths) {
    MSA_ASSIGN_OR_RETURN(const int64_t length, ParseLength(text));
    needles.lengths.push_back(length);
  }
  needles.kinds.clear();
  for (size_t kind = 0; kind < kNeedleKinds; ++kind) {
    for (const std::string& name : options.kinds) {
      if (name == kNeedleKindNames[kind]) needles.kinds.push_back(static_cast<NeedleKind>(kind));
    }
  }
  needles.ask.search.heads = HeadsByName(options.heads).value_or(Heads::kFused);
  needles.ask.read = ReadModeByName(options.read);
  return needles;
}

Status Run(const Options& options) {
  MSA_ASSIGN_OR_RETURN(const NeedleOptions needles, Needles(options));
  MSA_ASSIGN_OR_RETURN(const NeedleReport report, EvaluateNeedles(options.corpus, needles));
  options.json ? PrintJson(ToJson(report)) : Print(report);
  return options.plot.empty() ? OkStatus() : WritePlot(options.plot, Plot(report));
}

}  // namespace

void DeclareEvalNeedles(CLI::App& eval, int* exit_status) {
  auto options = std::make_shared<Options>();
  options->sample = options->needles.sample;
  options->needles.ask.max_tokens = 48;
  CLI::App* command = eval.add_subcommand(
      "needles",
      "Whether facts hidden in much text are found and answered, by length and position");
  command
      ->add_option("CORPUS", options->corpus,
                   "The hay: rows {\"id\"?, \"title\"?, \"text\"} (.jsonl or .jsonl.zst)")
      ->required();
  command->add_option("--lengths", options->lengths, "Tokens of hay; K and M count thousands")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--kinds", options->kinds, "Kinds of needles")
      ->delimiter(',')
      ->check(CLI::IsMember({"fact", "keys", "values", "combined"}))
      ->capture_default_str();
  command->add_option("--positions", options->needles.positions, "Places from 0 to 100 %")
      ->check(CLI::Range(1, 101))
      ->capture_default_str();
  AddHeads(*command, &options->heads);
  AskOptions& ask = options->needles.ask;
  command->add_option("-k", ask.search.k, "Passages to select")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--answer", options->needles.answer, "Answer the questions too");
  command->add_option("--read", options->read, "As for `msa ask`")
      ->check(CLI::IsMember({"text", "latents", "both"}));
  command->add_option("--read-passages", ask.read_passages, "As for `msa ask`")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--read-sentences", ask.read_sentences, "As for `msa ask`")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->add_option("--max-tokens", ask.max_tokens, "Longest answer")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  options->AddEval(*command, "needles of each kind at each position");
  command->get_option("--sample")
      ->check(CLI::PositiveNumber)
      ->description("How many needles of each kind at each position");
  options->AddPlot(*command, "a heat map by length and position");
  command->callback(
      [options, exit_status] { *exit_status = Finish(Run(*options), options->json); });
}

}  // namespace msa::cli
