// Documents that can be ranked by either head without writing latents: text and lexical index in a
// temporary bank, routing keys in memory, in the type that a bank would store. Many questions are
// routed in one pass over the keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "msa/engine/engine.h"
#include "msa/eval/data.h"
#include "msa/text/prompt.h"

namespace msa {

// A folder of its own for a bank, removed with the object.
class TemporaryBank {
 public:
  TemporaryBank();
  ~TemporaryBank();
  TemporaryBank(const TemporaryBank&) = delete;
  TemporaryBank& operator=(const TemporaryBank&) = delete;

  std::string bank() const { return folder_ + "/bank"; }
  // Writes documents as the JSON Lines that Engine::Add reads; returns the file's path.
  Result<std::string> WriteDocuments(std::span<const EvalDocument> documents) const;

 private:
  std::string folder_;
};

// Passages of each question with their scores, best first.
using Rankings = std::vector<std::vector<LexicalHit>>;

struct IndexedPassage {
  std::string document;  // its id
  PromptText text;
  std::vector<TokenId> tokens;  // title, line end, text
};

class SearchIndex {
 public:
  // Cuts and indexes the documents; encodes them only if `latent`. kCancelled when interrupted.
  static Result<std::unique_ptr<SearchIndex>> Build(std::span<const EvalDocument> documents,
                                                    const EngineOptions& options, bool latent);

  int64_t num_documents() const { return num_documents_; }
  int64_t num_passages() const { return std::ssize(passages_); }
  MemoryModel& model() { return *model_; }

  // The best `depth` passages of each question, best first.
  Result<Rankings> RankLexical(std::span<const EvalQuestion> questions, int64_t depth);
  Result<Rankings> RankLatent(std::span<const EvalQuestion> questions, int64_t depth);
  // Both lists of each question as one, see FuseInHops; the lexical head's weight is 1. A head that
  // did not rank gives no lists at all.
  Result<Rankings> Fuse(std::span<const EvalQuestion> questions, const Rankings& lexical,
                        const Rankings& latent, double latent_weight, int64_t hops,
                        int64_t depth) const;
  // By any heads, fused with the adapter's weight.
  Result<Rankings> Rank(Heads heads, std::span<const EvalQuestion> questions, int64_t hops,
                        int64_t depth);
  const IndexedPassage& passage(PassageId id) const;
  // Ids of the documents in the order of their best passages.
  std::vector<std::string> Documents(std::span<const LexicalHit> ranking) const;

 private:
  SearchIndex(const EngineOptions& options) : options_(options) {}
  Status ReadPassages();
  Status EncodeKeys();
  bool cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }

  const EngineOptions options_;
  TemporaryBank folder_;
  std::unique_ptr<Engine> engine_;
  MemoryModel* model_ = nullptr;  // the engine's
  std::shared_ptr<const Snapshot> snapshot_;
  int64_t num_documents_ = 0;
  std::vector<PassageId> passages_;      // ascending
  std::vector<IndexedPassage> indexed_;  // in their order
  // Routing keys of all passages, as kernels/route.h reads them.
  std::vector<int64_t> chunk_begin_;
  std::vector<std::byte> keys_;
  std::vector<float> key_scales_;
};

}  // namespace msa
