#include "msa/text/loader.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>
#include <utility>

#include "msa/base/file.h"
#include "msa/base/hash.h"
#include "msa/base/utf8.h"
#include "msa/text/decode.h"
#include "msa/text/files.h"
#include "msa/text/input.h"
#include "msa/text/jsonl.h"
#include "msa/text/pdf.h"
#include "msa/text/temporary_file.h"
#include "msa/text/titles.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

enum class Kind { kText, kMarkdown, kHtml, kPdf, kJsonl };

// A file is judged by its beginning.
constexpr size_t kPeekBytes = size_t{64} << 10;

std::string_view MediaType(Kind kind) {
  switch (kind) {
    case Kind::kText: return "text/plain";
    case Kind::kMarkdown: return "text/markdown";
    case Kind::kHtml: return "text/html";
    case Kind::kPdf: return "application/pdf";
    case Kind::kJsonl: return "application/x-ndjson";
  }
  return "";
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

Kind KindByName(const std::string& path) {
  const std::string extension = Lower(std::filesystem::path(path).extension().string());
  if (extension == ".md" || extension == ".markdown") return Kind::kMarkdown;
  if (extension == ".html" || extension == ".htm" || extension == ".xhtml") return Kind::kHtml;
  if (extension == ".pdf") return Kind::kPdf;
  if (extension == ".jsonl" || extension == ".ndjson") return Kind::kJsonl;
  return Kind::kText;
}

bool LooksLikeHtml(std::string_view text) {
  constexpr size_t kHeadBytes = 1024;
  std::string head = Lower(text.substr(SkipSpace(text, 0), kHeadBytes));
  if (head.starts_with("<!doctype html") || head.starts_with("<html")) return true;
  // XHTML: an XML declaration first.
  return head.starts_with("<?xml") && head.find("<html") != head.npos;
}

// Standard input has no name to tell rows from prose.
bool LooksLikeJsonl(std::string_view prefix) {
  const std::string_view line = prefix.substr(0, prefix.find('\n'));
  return Trim(line).starts_with('{') && ParseJsonRow(line).ok();
}

std::string Hash(std::string_view bytes) { return HexEncode(Sha256(AsBytes(bytes))); }

// What is known of a source before it is read.
struct Source {
  std::string path;   // to open and to name in failures; "-" for standard input
  std::string key;    // absolute, UTF-8
  std::string title;  // if the content gives none
};

Result<Source> SourceOf(const std::string& path) {
  if (path == "-") return Source{path, "stdin", "standard input"};
  std::error_code error;
  const auto absolute = std::filesystem::weakly_canonical(path, error);
  if (error) return ErrnoStatus("resolve", error.value());
  return Source{absolute.string(), ReplaceInvalidUtf8(absolute.string()),
                FileTitle(absolute.string())};
}

class Loader {
 public:
  Loader(const LoadOptions& options, FunctionRef<bool(Document)> on_document,
         FunctionRef<void(const LoadFailure&)> on_failure)
      : options_(options), on_document_(on_document), on_failure_(on_failure) {}

  // Loads one file, or "-"; false to stop. `path` is how the caller wrote it.
  bool Load(const std::string& path) {
    if (IsCancelled()) return false;
    auto source = SourceOf(path);
    if (!source.ok()) return Fail(path, source.status());
    auto input = path == "-" ? Result<Input>(Input::StandardInput()) : Input::Open(path);
    if (!input.ok()) return Fail(path, input.status());
    const auto prefix = input->Peek(kPeekBytes);
    if (!prefix.ok()) return Fail(path, prefix.status());
    if (prefix->empty()) return Fail(path, InvalidArgument("empty: no bytes"));
    const Kind kind = KindOf(path, *prefix);
    if (kind != Kind::kPdf) {
      if (const Status status = CheckMayBeText(*prefix); !status.ok()) return Fail(path, status);
    }
    if (kind == Kind::kJsonl) return LoadRows(path, *source, &*input);
    auto document =
        kind == Kind::kPdf ? ReadPdf(*source, &*input) : ReadText(*source, kind, &*input);
    if (IsCancelled()) return false;
    if (!document.ok()) return Fail(path, document.status());
    return on_document_(std::move(*document));
  }

 private:
  bool IsCancelled() const {
    return options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed);
  }

  bool Fail(const std::string& path, Status reason) {
    on_failure_({ReplaceInvalidUtf8(path), std::move(reason)});
    return true;
  }

  static Kind KindOf(const std::string& path, std::string_view prefix) {
    if (prefix.starts_with("%PDF-")) return Kind::kPdf;
    const Kind kind = path == "-" ? Kind::kText : KindByName(path);
    if (kind != Kind::kText && LooksLikeHtml(prefix)) return Kind::kHtml;
    if (path == "-" && LooksLikeJsonl(prefix)) return Kind::kJsonl;
    return kind;
  }

  // The fields that follow from the bytes as they were.
  static Document NewDocument(const Source& source, Kind kind, std::string_view bytes) {
    Document document;
    document.source_sha256 = Hash(bytes);
    document.source_bytes = static_cast<int64_t>(bytes.size());
    document.media_type = MediaType(kind);
    document.source_path = source.key;
    // Another text on standard input is another document.
    document.key =
        source.path == "-" ? source.key + ":" + document.source_sha256.substr(0, 16) : source.key;
    return document;
  }

  Result<Document> ReadText(const Source& source, Kind kind, Input* input) {
    MSA_ASSIGN_OR_RETURN(std::string bytes, input->ReadAll(options_.max_file_bytes));
    Document document = NewDocument(source, kind, bytes);
    MSA_ASSIGN_OR_RETURN(document.text, DecodeText(bytes));
    std::string().swap(bytes);
    if (kind == Kind::kHtml || LooksLikeHtml(document.text)) {
      document.media_type = MediaType(Kind::kHtml);
      MSA_ASSIGN_OR_RETURN(HtmlText html, ExtractHtml(document.text));
      document.text = std::move(html.text);
      document.title = std::move(html.title);
    } else if (kind == Kind::kMarkdown) {
      document.title = MarkdownTitle(document.text);
    }
    if (document.title.empty()) document.title = source.title;
    if (SkipSpace(document.text, 0) == document.text.size()) {
      return InvalidArgument("empty: no text");
    }
    return document;
  }

  Result<Document> ReadPdf(const Source& source, Input* input) {
    MSA_ASSIGN_OR_RETURN(std::string bytes, input->ReadAll(options_.max_file_bytes));
    Document document = NewDocument(source, Kind::kPdf, bytes);
    std::optional<TemporaryFile> copy;
    if (source.path == "-") {
      MSA_ASSIGN_OR_RETURN(copy, TemporaryFile::Create(bytes));
    }
    std::string().swap(bytes);
    MSA_ASSIGN_OR_RETURN(PdfText pdf, ExtractPdf(copy ? copy->path() : source.path, options_));
    document.text = std::move(pdf.text);
    document.page_begin = std::move(pdf.page_begin);
    document.title = pdf.title.empty() ? source.title : std::move(pdf.title);
    return document;
  }

  bool LoadRows(const std::string& path, const Source& source, Input* input) {
    bool go_on = true;
    const Status status = ReadJsonl(input, options_.max_row_bytes, [&](JsonLine line) {
      if (IsCancelled()) return go_on = false;
      const std::string number = std::to_string(line.number);
      if (!line.row.ok()) return Fail(path + ":" + number, line.row.status());
      return go_on = on_document_(RowDocument(source, number, line.bytes, std::move(*line.row)));
    });
    return status.ok() ? go_on : Fail(path, status);
  }

  static Document RowDocument(const Source& source, const std::string& number,
                              std::string_view bytes, JsonRow row) {
    Document document = NewDocument(source, Kind::kJsonl, bytes);
    // `document.key` tells rows of standard input apart, which may come again with other rows.
    document.key = !row.id.empty() ? std::move(row.id) : document.key + "#" + number;
    document.title = CleanTitle(row.title);
    if (document.title.empty()) document.title = source.title;
    document.text = std::move(row.text);
    document.labels = std::move(row.labels);
    return document;
  }

  const LoadOptions& options_;
  FunctionRef<bool(Document)> on_document_;
  FunctionRef<void(const LoadFailure&)> on_failure_;
};

}  // namespace

void LoadDocuments(const std::vector<std::string>& paths, const LoadOptions& options,
                   FunctionRef<bool(Document)> on_document,
                   FunctionRef<void(const LoadFailure&)> on_failure) {
  Loader loader(options, on_document, on_failure);
  const auto on_file = [&](const FoundFile& file) { return loader.Load(file.path); };
  WalkFiles(paths, on_file, on_failure);
}

bool IsJsonLinesName(const std::string& path) { return KindByName(path) == Kind::kJsonl; }

LoadEstimate EstimateLoad(const std::vector<std::string>& paths) {
  LoadEstimate estimate;
  const auto on_file = [&](const FoundFile& file) {
    if (file.path == "-") return true;
    ++estimate.files;
    estimate.bytes += file.bytes;
    return true;
  };
  WalkFiles(paths, on_file, [](const LoadFailure&) {});
  return estimate;
}

}  // namespace msa
