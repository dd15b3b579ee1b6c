#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"
#include "msa/engine/json.h"

namespace msa::cli {
namespace {

struct Options : CommonOptions {
  std::string text;  // empty: not given
  std::optional<int64_t> latents_days;

  Result<CompactOptions> Compact() const;
};

Result<CompactOptions> Options::Compact() const {
  CompactOptions compact{{}, latents_days};
  if (text == "all") compact.text_days = Retention::kForever;
  if (text.empty() || text == "all") return compact;
  int64_t days = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), days);
  if (error != std::errc() || end != text.data() + text.size() || days < 0) {
    return InvalidArgument("--retain-text takes \"all\" or a number of days, not \"" + text + "\"");
  }
  compact.text_days = days;
  return compact;
}

std::string Bytes(int64_t bytes) { return HumanBytes(static_cast<double>(bytes)); }

void Print(const CompactReport& report) {
  if (report.dropped_texts > 0 || report.dropped_latents > 0) {
    std::printf("dropped: text of %lld superseded versions, latents of %lld passages\n",
                static_cast<long long>(report.dropped_texts),
                static_cast<long long>(report.dropped_latents));
  }
  std::printf("%lld files rewritten or removed; %s before, %s now\n",
              static_cast<long long>(report.files), Bytes(report.bytes_before).c_str(),
              Bytes(report.bytes_after).c_str());
  const std::string text = report.retention.text_days == Retention::kForever
                               ? "for ever"
                               : std::to_string(report.retention.text_days) + " days";
  std::printf("kept of superseded versions: text %s, latents %lld days\n", text.c_str(),
              static_cast<long long>(report.retention.latents_days));
}

int Run(const Options& options) {
  const auto engine_options = options.Engine();
  if (!engine_options.ok()) return ReportError(engine_options.status(), options.json);
  const auto compact = options.Compact();
  if (!compact.ok()) return ReportError(compact.status(), options.json);
  const auto engine = Engine::Open(options.bank, *engine_options);
  if (!engine.ok()) return ReportError(engine.status(), options.json);
  const auto report = (*engine)->Compact(*compact);
  if (!report.ok()) return ReportError(report.status(), options.json);
  if (options.json) {
    PrintJson(ToJson(*report));
  } else {
    Print(*report);
  }
  for (const std::string& path : report->damaged) {
    std::fprintf(stderr, "msa: left as it is, because it is damaged: %s; see msa audit %s\n",
                 path.c_str(), options.bank.c_str());
  }
  return report->damaged.empty() ? kDone : kPartly;
}

}  // namespace

void DeclareCompact(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "compact",
      "Give space back: drop what the bank does not keep of superseded versions, and rewrite files "
      "that hold much of it.\nRevisions stay, and can be listed and gone back to. Banks also do "
      "this by themselves when they are written");
  options->AddBank(*command);
  command
      ->add_option("--retain-text", options->text,
                   "Days that the text of superseded versions is kept, or \"all\" (at first). What "
                   "is dropped cannot be\nread, found or brought back in older revisions. Stays "
                   "the bank's setting")
      ->type_name("all|DAYS");
  command
      ->add_option("--retain-latents", options->latents_days,
                   "Days that their latents are kept (at first 30); their text is found and read "
                   "without. Stays the\nbank's setting")
      ->type_name("DAYS");
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
