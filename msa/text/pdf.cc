#include "msa/text/pdf.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "msa/base/utf8.h"
#include "msa/text/decode.h"
#include "msa/text/process.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

using std::string_view_literals::operator""sv;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

ProcessLimits LimitsOf(const LoadOptions& options) {
  return {options.pdf_seconds, options.pdf_memory_bytes, options.pdf_text_bytes, options.cancelled};
}

// poppler's first complaint, without its "Syntax Error (123): ".
std::string FirstComplaint(std::string_view err) {
  std::string_view line = Trim(err.substr(0, err.find('\n')));
  if (const size_t colon = line.find("rror"); colon != line.npos) {
    const size_t text = line.find(": ", colon);
    if (text != line.npos) line.remove_prefix(text + 2);
  }
  return line.empty() ? "pdftotext gives no reason" : CleanTitle(line);
}

Status FailureOf(const ProcessOutput& output) {
  if (output.err.find("Incorrect password") != std::string::npos) {
    return InvalidArgument("encrypted: it needs a password");
  }
  if (output.err.find("not allowed") != std::string::npos) {
    return InvalidArgument("encrypted: its author forbids copying text");
  }
  if (output.err.find("Unsupported") != std::string::npos &&
      output.err.find("ncrypt") != std::string::npos) {
    return InvalidArgument("encrypted: in a way that pdftotext does not know");
  }
  return InvalidArgument("broken: " + FirstComplaint(output.err));
}

Result<ProcessOutput> RunPdfToText(const std::string& path, const LoadOptions& options) {
  auto output = RunLimited({options.pdftotext, "-enc", "UTF-8", "-eol", "unix", path, "-"},
                           LimitsOf(options));
  if (!output.ok() && output.status().code() == StatusCode::kNotFound) {
    return NotFound(options.pdftotext +
                    " is not installed; it reads PDF: apt install poppler-utils");
  }
  return output;
}

// The Info dictionary's title; empty if there is none or pdfinfo does not work.
std::string ReadTitle(const std::string& path, const LoadOptions& options) {
  const auto output = RunLimited({options.pdfinfo, "-enc", "UTF-8", path}, LimitsOf(options));
  if (!output.ok() || output->exit_status != 0) return "";
  constexpr std::string_view kField = "Title:";
  for (std::string_view rest = output->out; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.starts_with(kField)) return SensiblePdfTitle(line.substr(kField.size()));
  }
  return "";
}

}  // namespace

PdfText SplitPdfPages(std::string_view output) {
  PdfText result;
  result.text.reserve(output.size());
  while (!output.empty()) {
    const size_t end = output.find('\f');
    result.page_begin.push_back(static_cast<int64_t>(result.text.size()));
    for (const char c : output.substr(0, end)) {
      // Fonts without a Unicode map leave control characters behind.
      if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') result.text.push_back(c);
    }
    if (end == output.npos) break;
    output.remove_prefix(end + 1);
    if (!output.empty()) result.text.push_back('\n');
  }
  return result;
}

std::string SensiblePdfTitle(std::string_view title) {
  std::string clean = CleanTitle(title);
  std::string lower = Lower(clean);
  if (constexpr auto kWord = "microsoft word - "sv; lower.starts_with(kWord)) {
    clean.erase(0, kWord.size());
    lower.erase(0, kWord.size());
  }
  static constexpr std::array kFileEndings = {".doc"sv,  ".docx"sv, ".dvi"sv, ".pdf"sv,  ".tex"sv,
                                              ".ps"sv,   ".eps"sv,  ".rtf"sv, ".indd"sv, ".qxd"sv,
                                              ".ppt"sv,  ".pptx"sv, ".odt"sv, ".xls"sv,  ".xlsx"sv,
                                              ".html"sv, ".htm"sv,  ".txt"sv, ".md"sv,   ".fm"sv};
  for (const auto ending : kFileEndings) {
    if (lower.ends_with(ending)) return "";
  }
  if (lower.starts_with("untitled") || lower == "title" || lower == "none") return "";
  const auto letters = std::count_if(clean.begin(), clean.end(), [](unsigned char c) {
    return c >= 0x80 || std::isalpha(c) != 0;
  });
  return letters >= 3 ? clean : "";
}

Result<PdfText> ExtractPdf(const std::string& path, const LoadOptions& options) {
  MSA_ASSIGN_OR_RETURN(const ProcessOutput output, RunPdfToText(path, options));
  if (output.exit_status != 0) return FailureOf(output);
  PdfText pdf =
      SplitPdfPages(IsValidUtf8(output.out) ? output.out : ReplaceInvalidUtf8(output.out));
  if (Trim(pdf.text).empty()) {
    return InvalidArgument("empty: no text on its " + std::to_string(pdf.page_begin.size()) +
                           " page(s); scanned pages need text recognition first");
  }
  pdf.title = ReadTitle(path, options);
  return pdf;
}

}  // namespace msa
