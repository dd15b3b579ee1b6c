// What has been seen: texts that are in the pack already, and texts that must never be in it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "msa/base/status.h"
#include "msa/train/words.h"

namespace msa {

// Numbers by hash; the first one given to a hash stays. 12 bytes an entry, 20 on the average of
// growing.
class HashTable {
 public:
  void Insert(uint64_t hash, int32_t value);  // REQUIRES: value >= 0
  int32_t Find(uint64_t hash) const;          // -1 if absent
  size_t size() const { return size_; }

 private:
  size_t Slot(uint64_t hash) const;  // where it is, or the free slot where it would be
  void Grow();

  std::vector<uint64_t> hashes_;
  std::vector<int32_t> values_;  // -1: free
  size_t size_ = 0;
};

// Passages [first, first + count) of one document.
struct PassageRange {
  int32_t first = 0;
  int32_t count = 0;
};

// The documents of a pack by their text: exactly, by TextHash, and nearly, by a quarter of their
// 13-grams (chosen by hash, so that equal grams are chosen everywhere). Memory: about 5 bytes a
// word.
class SeenDocuments {
 public:
  // A gram and the passage in which it begins, counted within the document.
  struct Gram {
    uint64_t hash;
    int32_t passage;
  };
  static bool IsSampled(uint64_t gram) { return gram % 4 == 0; }

  std::optional<PassageRange> FindEqual(uint64_t text_hash) const;

  // How much of a text is in documents seen before.
  struct Overlap {
    double seen = 0;    // share of its grams that any document has; 0 if it has too few to say
    double in_one = 0;  // share that one document has: the one with the most
    PassageRange best;  // that document's passages in which they are
  };
  // `document_of(passage)` numbers the documents of the passages that were added.
  template <class DocumentOf>
  Overlap Compare(std::span<const Gram> grams, const DocumentOf& document_of) const {
    std::vector<int32_t> passages;
    for (const Gram& gram : grams) {
      const int32_t passage = grams_.Find(gram.hash);
      if (passage >= 0) passages.push_back(passage);
    }
    std::vector<std::pair<int32_t, int32_t>> hits;  // (document, passage)
    for (const int32_t passage : passages) hits.emplace_back(document_of(passage), passage);
    return Summarise(std::move(hits), grams.size());
  }

  void AddText(uint64_t text_hash, PassageRange range) { texts_.emplace(text_hash, range); }
  void AddGrams(std::span<const Gram> grams, int32_t first_passage) {
    for (const Gram& gram : grams) grams_.Insert(gram.hash, first_passage + gram.passage);
  }

 private:
  static Overlap Summarise(std::vector<std::pair<int32_t, int32_t>> hits, size_t num_grams);

  std::unordered_map<uint64_t, PassageRange> texts_;
  HashTable grams_;
};

// The evaluation sets: no passage may share a run of 13 words with them, no question be one of
// theirs.
class EvaluationText {
 public:
  // A folder with {docs,queries}.jsonl[.zst], or a folder of such folders; kNotFound if it is
  // neither.
  Status AddFolder(const std::string& path);

  bool empty() const { return grams_.size() == 0 && questions_.empty(); }
  bool HasGram(uint64_t gram) const { return grams_.Find(gram) >= 0; }
  bool HasAnyGram(std::span<const uint64_t> words) const;
  bool HasQuestion(uint64_t text_hash) const { return questions_.contains(text_hash); }

 private:
  Status AddFile(const std::string& path);
  void AddText(std::string_view text);

  HashTable grams_;
  std::unordered_set<uint64_t> questions_;
};

}  // namespace msa
