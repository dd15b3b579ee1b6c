// A token pack: the training data of an adapter in one file that is mapped, not loaded
// (docs/pack-format.md). `msa train pack` writes it (build_pack.h); a trainer reads it:
//
//   MSA_ASSIGN_OR_RETURN(const auto pack, Pack::Open("train.pack"));
//   if (pack->tokenizer() != VocabularyFingerprint(tokenizer)) …    // vocabulary.h
//   for (int64_t p = 0; p < pack->num_passages(); ++p) {
//     pack->Passage(p).CopyTo(row);            // title, newline, text; at most passage_tokens()
//     if (pack->Continues(p)) …                // the same document's next piece
//   }
//   for (int64_t q = 0; q < pack->num_questions(); ++q) {
//     const int32_t best = pack->Positives(q)[0];
//     if (pack->Kind(q) == QuestionKind::kCut) … // pack->Span(q) is the question within `best`
//   }
//
// Open checks every index and token, so no later call can leave the file's bounds. Questions and
// answers are bare: no template, no special tokens. Immutable; any number of threads may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "msa/base/check.h"
#include "msa/base/safetensors.h"
#include "msa/base/status.h"
#include "msa/text/tokenizer.h"

namespace msa {

enum class QuestionKind : uint8_t {
  kStandalone = 0,  // of a pair; makes sense without its document
  kInContext = 1,   // of a pair; asks about a document that is at hand: not for routing over many
  kCut = 2,         // a sentence of its passage; no answer
  kQuotation = 3,   // "Continue the quotation: …" of its passage
  kBlank = 4,       // a sentence of its passage without a name or number
  kMention = 5,     // "What is said about …?" with words of up to three sentences of its passage
};
inline constexpr int kNumQuestionKinds = 6;

// One input file and what became of it.
struct PackSource {
  std::string name;  // the file's, without folder and .jsonl.zst
  std::string kind;  // "corpus" or "pairs"
  int64_t rows = 0;  // read
  int64_t passages = 0;
  int64_t questions = 0;           // pairs kept, or questions made
  int64_t tokens = 0;              // of its passages
  int64_t dropped_duplicates = 0;  // rows
  int64_t dropped_overlap = 0;     // passages (of pairs: rows) that share text with --eval sets
  std::string sha256;              // of the file
};

// Tokens in the file, 2 or 4 bytes each. Borrowed: valid while the pack lives.
class TokenView {
 public:
  TokenView() = default;
  TokenView(const uint16_t* narrow, const int32_t* wide, int64_t size)
      : narrow_(narrow), wide_(wide), size_(size) {}

  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  TokenId operator[](int64_t i) const {
    MSA_DCHECK(i >= 0 && i < size_);
    return narrow_ != nullptr ? narrow_[i] : wide_[i];
  }
  // Tokens [begin, begin + count).
  TokenView Slice(int64_t begin, int64_t count) const {
    MSA_DCHECK(begin >= 0 && count >= 0 && begin + count <= size_);
    return narrow_ != nullptr ? TokenView(narrow_ + begin, nullptr, count)
                              : TokenView(nullptr, wide_ + begin, count);
  }
  // Writes size() ids as T: TokenId for a tokenizer, int64_t for an embedding.
  template <class T>
  void CopyTo(T* out) const {
    for (int64_t i = 0; i < size_; ++i) out[i] = static_cast<T>((*this)[i]);
  }
  std::vector<TokenId> ToVector() const {
    std::vector<TokenId> ids(static_cast<size_t>(size_));
    CopyTo(ids.data());
    return ids;
  }

 private:
  const uint16_t* narrow_ = nullptr;  // one of the two
  const int32_t* wide_ = nullptr;
  int64_t size_ = 0;
};

class Pack {
 public:
  // kDataLoss names the tensor and the entry that is wrong; kUnimplemented a newer format. Reads
  // the whole file once.
  static Result<std::shared_ptr<const Pack>> Open(const std::string& path);

  const std::string& path() const { return file_->path(); }
  int64_t vocab_size() const { return vocab_size_; }
  const std::string& tokenizer() const { return tokenizer_; }  // fingerprint of the vocabulary
  int64_t passage_tokens() const { return passage_tokens_; }   // W: no passage is longer
  const std::vector<PackSource>& sources() const { return sources_; }

  int64_t num_tokens() const { return tokens_.size(); }  // of all passages
  int64_t num_passages() const { return static_cast<int64_t>(passage_document_.size()); }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_questions() const { return static_cast<int64_t>(question_kind_.size()); }

  // Of passage p, in [0, num_passages()).
  TokenView Passage(int64_t p) const { return Slice(tokens_, passage_begin_, p); }
  // One entry a token; 1: a sentence of the passage's text begins in this token. Never inside the
  // title.
  std::span<const uint8_t> SentenceStarts(int64_t p) const {
    return Slice(sentence_start_, passage_begin_, p);
  }
  // Documents are numbered 0, 1, … in the order of their passages.
  int32_t Document(int64_t p) const { return passage_document_[static_cast<size_t>(p)]; }
  // Does passage p go on where passage p - 1 ends?
  bool Continues(int64_t p) const { return p > 0 && Document(p - 1) == Document(p); }
  int32_t PassageSource(int64_t p) const { return passage_source_[static_cast<size_t>(p)]; }

  // Of question q, in [0, num_questions()).
  TokenView Question(int64_t q) const { return Slice(question_tokens_, question_begin_, q); }
  TokenView Answer(int64_t q) const { return Slice(answer_tokens_, answer_begin_, q); }
  int32_t QuestionSource(int64_t q) const { return question_source_[static_cast<size_t>(q)]; }
  QuestionKind Kind(int64_t q) const {
    return static_cast<QuestionKind>(question_kind_[static_cast<size_t>(q)]);
  }
  // Of a kCut question: its tokens within Positives(q)[0]; else empty.
  struct Range {
    int32_t begin;
    int32_t end;
  };
  Range Span(int64_t q) const {
    const auto at = static_cast<size_t>(2 * q);
    return {question_span_[at], question_span_[at + 1]};
  }
  // Passages, best first, at least one. More than one: the answer needs all of them.
  std::span<const int32_t> Positives(int64_t q) const {
    return Slice(positive_, positive_begin_, q);
  }
  // Hard negatives that the data named; mostly none.
  std::span<const int32_t> Negatives(int64_t q) const {
    return Slice(negative_, negative_begin_, q);
  }

 private:
  friend class PackChecker;
  Pack() = default;

  template <class T>
  static std::span<const T> Slice(std::span<const T> all, std::span<const int64_t> begin,
                                  int64_t i) {
    const int64_t first = begin[static_cast<size_t>(i)];
    return all.subspan(static_cast<size_t>(first),
                       static_cast<size_t>(begin[static_cast<size_t>(i) + 1] - first));
  }
  static TokenView Slice(const TokenView& all, std::span<const int64_t> begin, int64_t i) {
    const int64_t first = begin[static_cast<size_t>(i)];
    return all.Slice(first, begin[static_cast<size_t>(i) + 1] - first);
  }

  std::shared_ptr<const SafetensorsFile> file_;
  int64_t vocab_size_ = 0;
  std::string tokenizer_;
  int64_t passage_tokens_ = 0;
  std::vector<PackSource> sources_;
  int64_t num_documents_ = 0;
  TokenView tokens_;
  std::span<const uint8_t> sentence_start_;
  std::span<const int64_t> passage_begin_;
  std::span<const int32_t> passage_document_;
  std::span<const int32_t> passage_source_;
  TokenView question_tokens_;
  std::span<const int64_t> question_begin_;
  TokenView answer_tokens_;
  std::span<const int64_t> answer_begin_;
  std::span<const int32_t> question_source_;
  std::span<const uint8_t> question_kind_;
  std::span<const int32_t> question_span_;  // [Q, 2]
  std::span<const int64_t> positive_begin_;
  std::span<const int32_t> positive_;
  std::span<const int64_t> negative_begin_;
  std::span<const int32_t> negative_;
};

}  // namespace msa
