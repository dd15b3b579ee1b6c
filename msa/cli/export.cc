#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/cli/common.h"

namespace msa::cli {
namespace {

using Json = nlohmann::ordered_json;

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

Status Export(const CommonOptions& options, int64_t* unreadable) {
  MSA_ASSIGN_OR_RETURN(const LabelFilter filter, options.Where());
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(options.bank));
  MSA_ASSIGN_OR_RETURN(const auto snapshot, options.OpenSnapshot(*bank));
  MSA_ASSIGN_OR_RETURN(const BankStats stats, snapshot->Stats());
  Progress progress("exporting", "documents", filter.empty() ? stats.documents : 0,
                    options.quiet ? ProgressMode::kOff : ProgressMode::kAuto);
  Status failed;
  MSA_RETURN_IF_ERROR(snapshot->ForEachDocument(filter, [&](const DocumentInfo& document) {
    const auto content = snapshot->ReadContent(document.version);
    if (content.ok()) {
      std::cout << JsonText(Row(document, *content)) << "\n";
      if (!std::cout) failed = IoError("standard output cannot be written");
    } else if (content.status().code() == StatusCode::kDataLoss) {
      // The others are worth having all the more.
      ++*unreadable;
      std::fprintf(stderr, "%s: %s\n", document.key.c_str(), content.status().message().c_str());
    } else {
      failed = content.status();
    }
    progress.Add(1);
    return failed.ok() && !InterruptFlag();
  }));
  MSA_RETURN_IF_ERROR(failed);
  std::cout.flush();
  if (InterruptFlag()) return Cancelled("stopped; the export is not whole");
  return snapshot->CheckErasures();
}

int Run(const CommonOptions& options) {
  int64_t unreadable = 0;
  const int exit_status = Finish(Export(options, &unreadable), options.json);
  return exit_status == kDone && unreadable > 0 ? kPartly : exit_status;
}

}  // namespace

void DeclareExport(CLI::App& app, int* exit_status) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command =
      app.add_subcommand("export",
                         "Print all documents as JSON Lines: titles, kept text and labels, as "
                         "`msa add` and other programs\nread them. What is damaged is named and "
                         "left out.");
  options->AddBank(*command);
  options->AddWhere(*command);
  options->AddAt(*command);
  options->AddOutput(*command);
  command->callback([options, exit_status] { *exit_status = Run(*options); });
}

}  // namespace msa::cli
