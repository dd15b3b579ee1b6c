#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "msa/bank/latents_transfer.h"
#include "msa/bank/layout.h"
#include "msa/cli/common.h"

namespace msa::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options : CommonOptions {
  std::string latents;
};

// A row as `msa add` reads it: labels are fields of their own. What it passes over, and a new bank
// finds again by itself, is nested.
Json Row(const DocumentInfo& document, const DocumentContent& content) {
  Json row = {{"id", document.key}, {"title", document.title}, {"text", content.text}};
  for (const auto& [name, value] : document.labels) row[name] = value;
  row["source"] = {{"path", document.source_path},
                   {"sha256", document.source_sha256},
                   {"bytes", document.source_bytes},
                   {"type", document.media_type},
                   {"page_begin", content.page_begin}};
  return row;
}

// The latents that answer, where they are wanted.
Result<std::optional<LatentsExport>> StartLatents(const Options& options, const Bank& bank,
                                                  const Snapshot& snapshot) {
  if (options.latents.empty()) return std::optional<LatentsExport>();
  if (LiesIn(options.latents, bank.path())) {
    return InvalidArgument(options.latents + " lies in the bank");
  }
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot.Encodings());
  if (encodings.empty() || encodings.back().encoded_passages == 0) {
    return FailedPrecondition(bank.path() + " has no latents; run: msa encode " + bank.path());
  }
  return std::optional<LatentsExport>(std::in_place, snapshot, encodings.back().info);
}

Status WriteLatents(const Options& options, LatentsExport& latents) {
  MSA_RETURN_IF_ERROR(
      latents.Write(PosixFileSystem(), options.latents, {options.Progress(), &InterruptFlag()}));
  if (!options.quiet) {
    std::fprintf(stderr, "note: latents of %lld passages are in %s; %lld passages have none\n",
                 static_cast<long long>(latents.passages()), options.latents.c_str(),
                 static_cast<long long>(latents.missing_passages()));
  }
  return OkStatus();
}

Status Export(const Options& options, int64_t* unreadable) {
  MSA_ASSIGN_OR_RETURN(const LabelFilter filter, options.Where());
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(const auto snapshot, options.OpenSnapshot(*bank));
  MSA_ASSIGN_OR_RETURN(auto latents, StartLatents(options, *bank, *snapshot));
  if (bank->options().encrypt && !options.quiet) {
    std::fprintf(stderr, "note: %s is encrypted, what is exported is in plain\n",
                 options.bank.c_str());
  }
  MSA_ASSIGN_OR_RETURN(const BankStats stats, snapshot->Stats());
  Progress progress("exporting", "documents", filter.empty() ? stats.documents : 0,
                    options.quiet ? ProgressMode::kOff : ProgressMode::kAuto);
  const auto print = [&](const DocumentInfo& document) -> Status {
    const auto content = snapshot->ReadContent(document.version);
    if (content.status().code() == StatusCode::kDataLoss) {
      // The others are worth having all the more.
      ++*unreadable;
      std::fprintf(stderr, "%s: %s\n", document.key.c_str(), content.status().message().c_str());
      return OkStatus();
    }
    MSA_RETURN_IF_ERROR(content.status());
    std::cout << JsonText(Row(document, *content)) << "\n";
    if (!std::cout) return IoError("standard output cannot be written");
    return latents ? latents->Add(document.version) : OkStatus();
  };
  Status failed;
  MSA_RETURN_IF_ERROR(snapshot->ForEachDocument(filter, [&](const DocumentInfo& document) {
    failed = print(document);
    progress.Add(1);
    return failed.ok() && !InterruptFlag();
  }));
  MSA_RETURN_IF_ERROR(failed);
  std::cout.flush();
  if (InterruptFlag()) return Cancelled("stopped; the export is not whole");
  progress.Finish();
  if (latents) MSA_RETURN_IF_ERROR(WriteLatents(options, *latents));
  return snapshot->CheckErasures();
}

int Run(const Options& options) {
  int64_t unreadable = 0;
  const int exit_status = Finish(Export(options, &unreadable), options.json);
  return exit_status == kDone && unreadable > 0 ? kPartly : exit_status;
}

}  // namespace

void DeclareExport(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("export",
                         "Print all documents as JSON Lines: titles, kept text and labels, as "
                         "`msa import`, `msa add`\nand other programs read them, in plain also of "
                         "an encrypted bank. What is damaged is named and left out.");
  options->AddBank(*command);
  options->AddWhere(*command);
  options->AddAt(*command);
  command->add_option("--latents", options->latents,
                      "Also write their latents into this file (safetensors), for `msa import "
                      "--latents`");
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
