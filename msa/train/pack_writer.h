// Collects passages and questions and writes them as one pack. Memory: the pack's own size.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "msa/base/status.h"
#include "msa/text/tokenizer.h"
#include "msa/train/pack.h"

namespace msa {

struct PackPassage {
  std::vector<TokenId> tokens;
  std::vector<uint8_t> sentence_start;  // one a token
  bool continues = false;               // the passage added before it
  int32_t source = 0;
};

struct PackQuestion {
  QuestionKind kind = QuestionKind::kStandalone;
  std::vector<TokenId> question;
  std::vector<TokenId> answer;
  int32_t source = 0;
  Pack::Range span = {0, 0};
  std::vector<int32_t> positives;
  std::vector<int32_t> negatives;
};

// As a pack's config holds it and `msa train pack --json` prints it.
nlohmann::ordered_json ToJson(const PackSource& source);

class PackWriter {
 public:
  PackWriter(int64_t vocab_size, std::string tokenizer_fingerprint, int64_t passage_tokens);

  int32_t AddPassage(const PackPassage& passage);  // returns its index
  void AddQuestion(const PackQuestion& question);

  int64_t num_passages() const { return static_cast<int64_t>(passage_document_.size()); }
  int64_t num_questions() const { return static_cast<int64_t>(question_kind_.size()); }
  int64_t num_tokens() const { return passage_begin_.back(); }
  int64_t num_documents() const {
    return passage_document_.empty() ? 0 : passage_document_.back() + 1;
  }
  int64_t num_question_tokens() const { return question_begin_.back() + answer_begin_.back(); }
  int32_t Document(int32_t passage) const {
    return passage_document_[static_cast<size_t>(passage)];
  }
  TokenView Passage(int32_t passage) const;

  // Writes beside `path`, syncs and renames. `options_json` is what the pack was made with; it goes
  // into the config. REQUIRES: it is JSON.
  Status Write(const std::string& path, std::span<const PackSource> sources,
               const std::string& options_json) const;

 private:
  // Token ids, 2 bytes each where the vocabulary allows.
  struct Tokens {
    bool narrow;
    std::vector<uint16_t> ids16;
    std::vector<int32_t> ids32;
    void Append(std::span<const TokenId> ids);
  };

  const int64_t vocab_size_;
  const std::string tokenizer_fingerprint_;
  const int64_t passage_tokens_;
  Tokens tokens_, question_tokens_, answer_tokens_;
  std::vector<uint8_t> sentence_start_;
  std::vector<int64_t> passage_begin_ = {0};
  std::vector<int32_t> passage_document_;
  std::vector<int32_t> passage_source_;
  std::vector<int64_t> question_begin_ = {0};
  std::vector<int64_t> answer_begin_ = {0};
  std::vector<int32_t> question_source_;
  std::vector<uint8_t> question_kind_;
  std::vector<int32_t> question_span_;
  std::vector<int64_t> positive_begin_ = {0};
  std::vector<int32_t> positive_;
  std::vector<int64_t> negative_begin_ = {0};
  std::vector<int32_t> negative_;
};

}  // namespace msa
