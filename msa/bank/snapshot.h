// A Snapshot of one revision.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/core.h"
#include "msa/bank/passage_set.h"

namespace msa {

class BankSnapshot final : public Snapshot {
 public:
  // Reads the state and path in one transaction of `core`'s connection. `at` not valid: the latest
  // revision. REQUIRES: its mutex is held.
  static Result<std::shared_ptr<const BankSnapshot>> Create(std::shared_ptr<BankCore> core,
                                                            RevisionId at = {});

  ~BankSnapshot() override;

  // Of the catalog when the snapshot was made: changes with every commit, latents included.
  int64_t commit_number() const { return state_.head.commit_number; }
  int64_t erase_epoch() const { return state_.head.erase_epoch; }

  RevisionId revision() const override { return RevisionId{path_.last()}; }
  Status CheckErasures() const override;
  Result<BankStats> Stats() const override;
  Result<Retention> GetRetention() const override;
  Result<std::vector<EncodingStats>> Encodings(const LabelFilter& filter) const override;
  Status ForEachDocument(const LabelFilter& filter,
                         FunctionRef<bool(const DocumentInfo&)> on_document) const override;
  Result<DocumentInfo> FindDocument(std::string_view name) const override;
  Result<DocumentInfo> GetDocument(VersionId version) const override;
  Result<DocumentContent> ReadContent(VersionId version) const override;
  Result<PassageAddress> FindPassage(PassageId passage) const override;
  Result<std::vector<LexicalHit>> SearchLexical(std::string_view query, int64_t k,
                                                const LabelFilter& filter) const override;
  Result<std::span<const KeyRun>> RoutingKeys(EncodingId encoding) const override;
  Result<LatentBlock> ReadLatentRun(EncodingId encoding, PassageId passage,
                                    int64_t count) const override;
  Result<std::vector<int64_t>> CountLatents(EncodingId encoding, VersionId version) const override;
  Result<std::vector<Unencoded>> FindUnencoded(EncodingId encoding) const override;
  Result<std::shared_ptr<const VisiblePassages>> MatchingPassages(
      const LabelFilter& filter) const override;

 private:
  // What this revision sees; made at first need, then shared by all calls.
  struct Visible {
    std::vector<VersionSpan> versions;  // ascending by version and by passage
    VisiblePassages passages;

    // Null if it is not visible.
    const VersionSpan* Find(int64_t version) const;
    const VersionSpan* FindByPassage(PassageId passage) const;
  };
  // Routing keys of one encoding and what keeps their memory.
  struct LoadedKeys {
    std::vector<KeyRun> runs;
    std::vector<std::shared_ptr<const void>> owners;
  };

  explicit BankSnapshot(std::shared_ptr<BankCore> core) : core_(std::move(core)) {}
  Status ReadPaths(RevisionId at);
  // What `read` gives, unless documents were erased since: then neither that, nor an error that it
  // met in files that the erasure has overwritten.
  template <class T, class Read>
  Result<T> UnlessErased(Read read) const {
    Result<T> result = read();
    MSA_RETURN_IF_ERROR(CheckErasures());
    return result;
  }
  Result<PassageAddress> LocatePassage(PassageId passage) const;
  Result<std::span<const KeyRun>> KeepKeys(EncodingId encoding) const;
  Result<LatentBlock> FindLatents(EncodingId encoding, PassageId passage, int64_t count) const;

  Result<std::shared_ptr<const Visible>> All() const;
  // Reads the catalog: one pass over its versions, or over those with the filter's labels.
  Result<std::shared_ptr<const Visible>> Matching(const LabelFilter& filter) const;
  Result<VersionRow> VisibleVersion(VersionId version) const;
  // The content of a visible version.
  Result<std::shared_ptr<const DocumentContent>> ReadKept(VersionId version) const;
  Result<std::vector<std::shared_ptr<LexicalShard>>> OpenShards() const;
  // REQUIRES: the catalog's mutex is held.
  Result<EncodingInfo> RequireEncoding(EncodingId encoding) const;
  Result<std::vector<EncodingStats>> CountEncoded(const Visible& all,
                                                  const PassageSet& passages) const;
  Result<LoadedKeys> LoadKeys(EncodingId encoding) const;
  Result<LatentBlock> ReadPlacedLatents(EncodingId encoding, VersionId version, int64_t index,
                                        int64_t count) const;

  const std::shared_ptr<BankCore> core_;
  CatalogState state_;    // of the catalog when the snapshot was made
  RevisionPath path_;     // of the revision it shows
  RevisionPath today_;    // of the latest one then
  bool counted_ = false;  // among the core's living snapshots

  // Of the catalog at one commit; passages can get latents while the snapshot lives.
  struct CountedEncodings {
    int64_t commit_number;
    std::vector<EncodingStats> stats;
  };

  mutable std::mutex mutex_;  // guards all_
  mutable std::shared_ptr<const Visible> all_;
  mutable std::mutex counts_mutex_;  // guards counts_; taken before all others
  mutable std::map<LabelFilter, CountedEncodings> counts_;
  mutable std::mutex keys_mutex_;  // guards keys_; taken before all others
  mutable std::map<EncodingId, LoadedKeys> keys_;
};

}  // namespace msa
