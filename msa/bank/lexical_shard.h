// One immutable part of the full-text index: an SQLite image with
//   t        FTS5, contentless: rowid r is passage first_passage + r - 1
//   terms    (term, passages) for every term in at least kFrequentTerm passages
//   shard    one row: first_passage, slots, passages, tokens, and the length of each slot in tokens
// docs/bank-format.md has the schema. Built in memory from kept text, never changed, rebuilt when
// shards merge; erasing writes another without the passages that go.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/passage_set.h"
#include "msa/bank/shard_image.h"
#include "msa/bank/sqlite.h"
#include "msa/base/file.h"
#include "msa/base/ids.h"
#include "msa/base/status.h"

namespace msa {

// From this many passages on, a term's count is stored; below, counting its postings is as fast.
inline constexpr int64_t kFrequentTerm = 16;

class LexicalShardBuilder {
 public:
  static Result<std::unique_ptr<LexicalShardBuilder>> Create(PassageId first_passage);
  // Begins with a copy of a finished image, whose blocks were verified, to take passages out of it.
  static Result<std::unique_ptr<LexicalShardBuilder>> Reopen(std::span<const std::byte> image);

  // Ids ascend, else kDataLoss; gaps are allowed. The title counts as part of every passage
  // (measured on five sets: nDCG@10 0.3 to 10 points better than without).
  Status Add(PassageId passage, std::string_view title, std::string_view text);
  // Takes out a passage of a reopened image, given what it was added with. kDataLoss: the image
  // does not hold it.
  Status Remove(PassageId passage, std::string_view title, std::string_view text);

  int64_t passages() const { return passages_; }
  PassageId first_passage() const { return PassageId{first_passage_}; }
  // One past the last passage added.
  PassageId end_passage() const { return PassageId{first_passage_ + slots_}; }
  // Of text added; the image is about as large.
  int64_t text_bytes() const { return text_bytes_; }

  // The finished image, with no byte of what was removed. The builder is used up. kDataLoss: a
  // passage was removed that the image did not hold in these words.
  Result<std::vector<std::byte>> Finish();

 private:
  LexicalShardBuilder() = default;
  // Fills buffer_.
  void PrepareText(std::string_view title, std::string_view text);
  Result<std::vector<uint16_t>> ReadLengths(int64_t* total);
  Status WriteTermCounts();
  // Only what is in tables stays in the image, and no posting is one of a removed passage.
  Status CleanRemoved();

  Database db_;
  Statement insert_;
  Statement remove_;
  PassageSet removed_;
  std::string buffer_;
  int64_t first_passage_ = 0;
  int64_t slots_ = 0;
  int64_t passages_ = 0;
  int64_t text_bytes_ = 0;
};

// A term of a question: how the index writes it, and the word that gives it.
struct QuestionTerm {
  std::string stem;
  std::string word;
  friend bool operator==(const QuestionTerm&, const QuestionTerm&) = default;
};

// The distinct terms of a question, ascending by stem, tokenised exactly as the shards are.
Result<std::vector<QuestionTerm>> TokenizeQuestion(std::string_view question);

// What a search asks of each shard. `terms` and `weights` run parallel.
struct LexicalRequest {
  std::vector<QuestionTerm> terms;
  std::vector<double> weights;     // inverse document frequency of each
  std::vector<size_t> candidates;  // terms of which a passage must have one; empty: any term
  double average_length = 1;
  const PassageSet* visible = nullptr;
};

// Keeps the best k hits: higher scores first, ties to the smaller passage.
class LexicalTopK {
 public:
  struct Hit {
    double score;
    int64_t passage;
  };

  explicit LexicalTopK(int64_t k) : k_(static_cast<size_t>(k)) {}
  void Offer(Hit hit);
  // Best first. Empties the object.
  std::vector<Hit> TakeSorted();

 private:
  static bool Better(const Hit& a, const Hit& b) {
    return a.score != b.score ? a.score > b.score : a.passage < b.passage;
  }

  size_t k_;
  std::vector<Hit> heap_;  // the worst on top
};

// An open shard. Thread-safe: one search at a time, others wait.
class LexicalShard {
 public:
  // As ShardImage::Open; kDataLoss too if the image is not a shard.
  static Result<std::shared_ptr<LexicalShard>> Open(const std::string& path, int64_t length,
                                                    std::vector<uint64_t> blocks,
                                                    BankCipher* cipher = nullptr);

  int64_t first_passage() const { return first_passage_; }
  int64_t end_passage() const { return first_passage_ + static_cast<int64_t>(lengths_.size()); }
  int64_t passages() const { return passages_; }

  // Passages of `visible` in this shard, and the sum of their lengths in tokens.
  struct Totals {
    int64_t passages = 0;
    int64_t tokens = 0;
  };
  Totals CountVisible(const PassageSet& visible) const;

  // Passages with the term, visible or not. Constant time for frequent terms.
  Result<int64_t> PassagesWith(const QuestionTerm& term);
  // Passages of `visible` with the term; walks the term's postings.
  Result<int64_t> VisiblePassagesWith(const QuestionTerm& term, const PassageSet& visible);

  // Offers every visible match to `top`.
  Status Search(const LexicalRequest& request, LexicalTopK* top);

 private:
  LexicalShard() = default;
  Status ReadHeader();

  std::string path_;
  int64_t first_passage_ = 0;
  int64_t passages_ = 0;
  int64_t tokens_ = 0;
  std::vector<uint16_t> lengths_;  // 0: no such passage

  std::mutex mutex_;  // guards what follows
  Database db_;
  Statement term_count_;
  Statement term_walk_;
  Statement search_;
};

}  // namespace msa
