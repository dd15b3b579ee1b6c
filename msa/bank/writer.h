// BankWriter over its parts: documents, latents, the revision and the transaction they share.
#pragma once

#include <memory>

#include "msa/bank/bank.h"
#include "msa/bank/certificate.h"
#include "msa/bank/compaction.h"
#include "msa/bank/document_writer.h"
#include "msa/bank/erasure.h"
#include "msa/bank/latent_writer.h"
#include "msa/bank/revision_writer.h"
#include "msa/bank/write_transaction.h"

namespace msa {

inline constexpr int64_t kSealBytes = int64_t{64} << 20;

// Sizes and clock of a writer, which tests make small and fast.
struct WriterTuning {
  WriterTuning(int64_t seal = kSealBytes) : seal_bytes(seal) {}  // NOLINT: implicit

  int64_t seal_bytes;  // of a tail that is sealed
  CompactionPolicy automatic = kAutomaticCompaction;
  int64_t ahead_ms = 0;  // how much later it is for what is kept
};

class Writer final : public BankWriter {
 public:
  static Result<std::unique_ptr<BankWriter>> Start(std::shared_ptr<BankCore> core,
                                                   WriteOptions options = {},
                                                   const WriterTuning& tuning = {});

  Result<AddOutcome> Add(NewDocument document) override;
  Result<AddOutcome> Compare(std::string_view key, std::string_view title, std::string_view text,
                             const std::map<std::string, std::string>& labels) override;
  Result<bool> Remove(std::string_view key) override;
  int64_t pending_documents() const override { return documents_->pending_documents(); }
  int64_t pending_text_bytes() const override { return documents_->pending_text_bytes(); }
  int64_t reused_passages() const override { return reused_passages_; }
  Result<RevisionId> Commit(std::string_view message) override;
  Result<RevisionId> Revert(RevisionId revision, std::string_view message) override;
  Result<std::string> Certify(const std::string& key_path,
                              const std::vector<std::string>& erased) override;
  Result<EraseReport> Erase(const EraseRequest& request, std::string_view message) override;
  Result<CompactReport> Compact(std::optional<Retention> retention) override;
  Result<EncodingId> OpenEncoding(const EncodingInfo& encoding) override;
  Status AddLatents(EncodingId encoding, VersionId version, int64_t first_passage,
                    const LatentBlock& block) override;
  Status CommitLatents() override;
  Result<EncodingId> BeginMigration(const EncodingInfo& encoding) override;
  Status FinishMigration() override;

 private:
  Writer(std::unique_ptr<WriteTransaction> transaction, WriteOptions options,
         const WriterTuning& tuning)
      : transaction_(std::move(transaction)),
        revision_(*transaction_, std::move(options.author)),
        erasure_(*transaction_, revision_, options.progress),
        latents_(*transaction_, tuning.seal_bytes),
        compaction_(*transaction_, tuning.seal_bytes, tuning.ahead_ms),
        automatic_(tuning.automatic),
        progress_(options.progress) {}

  // Makes the chain name a key, unless the newest it names is that.
  Status NameKey(const SigningKey& key);
  Certificate Describe() const;
  // The documents that a request means, ascending.
  Result<std::vector<DocId>> FindToErase(const EraseRequest& request);
  Result<EncodingId> OpenPending(const EncodingInfo& encoding);
  // Gives up what Compare may have opened, and closes tail and pack, which are opened anew when
  // they are needed. REQUIRES: nothing waits for a commit.
  Status CloseAll();
  // Commits, and compacts the bank after it where that pays. The commit stands whatever becomes of
  // that.
  Status CommitAndCompact();
  Result<bool> CompactionPays();

  // kFailedPrecondition if documents or latents wait for their commit.
  Status RequireNothingAdded(std::string_view before) const;
  // Remembers a failure that may have left half of an operation in the transaction: from then on
  // every call returns it, and nothing more is committed.
  Status Keep(Status status);

  std::unique_ptr<WriteTransaction> transaction_;
  RevisionWriter revision_;
  Erasure erasure_;
  LatentWriter latents_;
  Compaction compaction_;
  const CompactionPolicy automatic_;
  const ProgressMode progress_;
  std::unique_ptr<DocumentWriter> documents_;
  int64_t reused_passages_ = 0;
  EraseReport resumed_;  // of an erasure that this writer met when it started
  Status failed_;
};

}  // namespace msa
