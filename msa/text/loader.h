// Files, folders and standard input in, documents out: .txt, .md (.markdown), .html (.htm, .xhtml),
// .pdf, .jsonl (.ndjson), and files of other names (source code, logs) if they are text. A file
// that begins as PDF or HTML is read as that, whatever its name. One bad file never stops the
// others.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "msa/base/function_ref.h"
#include "msa/base/status.h"
#include "msa/text/document.h"

namespace msa {

struct LoadOptions {
  int64_t max_file_bytes = int64_t{1} << 30;  // not of .jsonl, which is read row by row
  int64_t max_row_bytes = int64_t{64}
                          << 20;  // of a .jsonl; a longer row fails, the next ones go on
  // Programs of poppler-utils (looked up in PATH unless they hold a slash), and their limits.
  std::string pdftotext = "pdftotext";
  std::string pdfinfo = "pdfinfo";  // for titles; if it fails, the file's name serves
  int pdf_seconds = 120;
  int64_t pdf_memory_bytes = int64_t{2} << 30;
  int64_t pdf_text_bytes = int64_t{512} << 20;
  // Polled between files and rows, and while a PDF is converted; no failure is reported for what
  // was left out.
  const std::atomic<bool>* cancelled = nullptr;
};

struct LoadFailure {
  std::string path;  // UTF-8, as given or under the folder given; "notes.jsonl:17" for a row
  Status reason;     // "encrypted", "empty: no text", "not text", …
};

// Documents arrive in a fixed order (folders walked by name), one in memory at a time.
// `on_document` returns false to stop. Hidden files and folders are skipped inside folders; a path
// given explicitly never is. "-" is standard input. Links are followed once; a loop is not entered
// twice.
void LoadDocuments(const std::vector<std::string>& paths, const LoadOptions& options,
                   FunctionRef<bool(Document)> on_document,
                   FunctionRef<void(const LoadFailure&)> on_failure);

// Whether LoadDocuments takes a file of this name for JSON Lines.
bool IsJsonLinesName(const std::string& path);

// Files that LoadDocuments would open, for progress: count and bytes. Standard input counts
// nothing.
struct LoadEstimate {
  int64_t files = 0;
  int64_t bytes = 0;
};
LoadEstimate EstimateLoad(const std::vector<std::string>& paths);

// Any of UTF-8, UTF-16 (either order, with or without mark) and Latin-1/Windows-1252, as UTF-8
// without a mark and with line ends as \n. kInvalidArgument if the bytes are not text.
Result<std::string> DecodeText(std::string_view bytes);

// The text of an HTML page (block elements end lines, scripts and styles dropped, entities
// resolved) and its title.
struct HtmlText {
  std::string title;
  std::string text;
};
Result<HtmlText> ExtractHtml(std::string_view html_utf8);

}  // namespace msa
