// Text of PDF files, through poppler's pdftotext as a limited process: PDF readers meet hostile
// input, and poppler is GPL, so it is never linked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/status.h"
#include "msa/text/loader.h"

namespace msa {

struct PdfText {
  std::string title;                // the document's own; empty if it has none worth showing
  std::string text;                 // UTF-8, reading order, \n at line ends and between pages
  std::vector<int64_t> page_begin;  // as in Document
};

// Fails with kInvalidArgument "encrypted: …", "broken: …" or "empty: …"; kNotFound if pdftotext is
// missing (the message says what to install); kResourceExhausted past a limit; kCancelled.
// `path` is given to the programs as it is: absolute, so that it cannot be read as an option.
Result<PdfText> ExtractPdf(const std::string& path, const LoadOptions& options);

// Splits pdftotext's output, in which each page ends with a form feed.
PdfText SplitPdfPages(std::string_view output);

// `title` tidied if it tells a person what the document is, else empty: names of source files
// ("thesis.dvi", "Microsoft Word - draft2.doc") and "Untitled" do not.
std::string SensiblePdfTitle(std::string_view title);

}  // namespace msa
