// What the tests of this folder share: files that go away, PDFs written by hand, a tokenizer small
// enough to reason about.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "msa/text/tokenizer.h"

namespace msa::testing {

// A fresh folder, removed with all that is in it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string path() const { return path_.string(); }
  // Writes a file, making folders as needed; returns its path.
  std::string Write(const std::string& name, std::string_view content) const;
  // The same, and makes it a program.
  std::string WriteProgram(const std::string& name, std::string_view script) const;

 private:
  std::filesystem::path path_;  // canonical
};

// A minimal valid PDF, lines of Helvetica on each page ("" for a page without text), with a title
// in its Info dictionary unless that is empty.
std::string MakePdf(const std::vector<std::string>& pages, const std::string& title);
// A PDF that wants a password: an encryption dictionary whose check no empty password meets.
std::string MakeEncryptedPdf();

// " word" and "word" are tokens, up to six letters each; every other byte is one. Encoding a piece
// of a text can take more tokens than the text took there, as with real tokenizers.
class WordTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options) const override;
  TokenizedText EncodeWithOffsets(std::string_view text,
                                  const EncodeOptions& options) const override;
  std::string Decode(std::span<const TokenId>, bool) const override { return ""; }
  int64_t vocab_size() const override { return 1 << 20; }
  std::optional<TokenId> FindToken(std::string_view) const override { return std::nullopt; }
  bool IsSpecial(TokenId) const override { return false; }
  PreTokenizer pre_tokenizer() const override { return PreTokenizer::kSmolLM2; }
};

// The default model's tokenizer; null where the model is not installed.
std::unique_ptr<Tokenizer> DefaultModelTokenizer();

// Text made of words, punctuation, line ends, many scripts, and (if asked for) broken bytes.
std::string RandomText(std::mt19937* random, size_t pieces, bool broken_bytes);

}  // namespace msa::testing
