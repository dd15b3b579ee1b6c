#include "msa/bank/writer.h"

#include <algorithm>
#include <set>

#include "msa/bank/bytes.h"
#include "msa/bank/key_recovery.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/latent_reuse.h"
#include "msa/bank/migration.h"
#include "msa/bank/pending_erasure.h"

namespace msa {
namespace {

// The input's fault, found before anything was written.
bool IsHarmless(StatusCode code) {
  return code == StatusCode::kInvalidArgument || code == StatusCode::kAlreadyExists;
}

// Nothing is left of these documents.
Status CheckErased(Catalog& catalog, const std::vector<RandomNumber>& numbers) {
  MSA_ASSIGN_OR_RETURN(const auto pending, ReadPendingErasure(catalog));
  MSA_ASSIGN_OR_RETURN(Statement erased,
                       catalog.db().Prepare("SELECT 1 FROM chain WHERE number = ?1 AND operation = "
                                            "?2"));
  for (const RandomNumber& number : numbers) {
    const bool waits = pending && std::ranges::find(*pending, number) != pending->end();
    MSA_ASSIGN_OR_RETURN(const bool row, erased
                                             .Bind(std::span<const std::byte>(number),
                                                   static_cast<int64_t>(ChainOperation::kErase))
                                             .Step());
    if (waits || !row) {
      return FailedPrecondition("document " + HexEncode(number) +
                                (waits ? " is not erased to the end yet" : " was not erased"));
    }
    erased.Reset();
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<BankWriter>> Writer::Start(std::shared_ptr<BankCore> core,
                                                  WriteOptions options,
                                                  const WriterTuning& tuning) {
  MSA_ASSIGN_OR_RETURN(auto transaction, WriteTransaction::Start(std::move(core)));
  const bool readmit = options.readmit;
  std::unique_ptr<Writer> writer(new Writer(std::move(transaction), std::move(options), tuning));
  // What a crash or a reader has kept from its end; if it has to wait still, we need not.
  MSA_ASSIGN_OR_RETURN(writer->resumed_, writer->erasure_.Proceed());
  MSA_RETURN_IF_ERROR(CatchUpWithKeyring(*writer->transaction_, writer->erasure_));
  MSA_ASSIGN_OR_RETURN(writer->documents_,
                       DocumentWriter::Create(*writer->transaction_, writer->revision_, readmit));
  return std::unique_ptr<BankWriter>(std::move(writer));
}

Status Writer::RequireNothingAdded(std::string_view before) const {
  if (pending_documents() == 0 && !latents_.has_pending()) return OkStatus();
  return FailedPrecondition("commit what was added before " + std::string(before));
}

Status Writer::Keep(Status status) {
  if (!status.ok() && !IsHarmless(status.code())) failed_ = status;
  return status;
}

Result<AddOutcome> Writer::Add(NewDocument document) {
  MSA_RETURN_IF_ERROR(failed_);
  const auto added = documents_->Add(document);
  if (!added.ok()) return Keep(added.status());
  if (added->previous) {
    const auto reused =
        ReuseLatents(*transaction_, latents_, *added->previous, added->version, document.passages);
    if (!reused.ok()) return Keep(reused.status());
    reused_passages_ += *reused;
  }
  return added->outcome;
}

Result<AddOutcome> Writer::Compare(std::string_view key, std::string_view title,
                                   std::string_view text,
                                   const std::map<std::string, std::string>& labels) {
  MSA_RETURN_IF_ERROR(failed_);
  return documents_->Compare(key, {title, LabelsJson(labels), Blake2b(AsBytes(text))});
}

Result<bool> Writer::Remove(std::string_view key) {
  MSA_RETURN_IF_ERROR(failed_);
  auto removed = documents_->Remove(key);
  if (!removed.ok()) return Keep(removed.status());
  return removed;
}

Result<RevisionId> Writer::Commit(std::string_view message) {
  MSA_RETURN_IF_ERROR(failed_);
  if (documents_->pending_documents() > 0) {
    // Latents added meanwhile go with them: they share the transaction.
    MSA_RETURN_IF_ERROR(Keep(latents_.Finish()));
    MSA_RETURN_IF_ERROR(Keep(documents_->Finish()));
    MSA_RETURN_IF_ERROR(Keep(revision_.Finish(RevisionKind::kWrite, message)));
    MSA_RETURN_IF_ERROR(Keep(CommitAndCompact()));
  }
  return RevisionId{transaction_->state().head.revision};
}

Result<RevisionId> Writer::Revert(RevisionId revision, std::string_view message) {
  MSA_RETURN_IF_ERROR(failed_);
  if (pending_documents() > 0) {
    return FailedPrecondition("commit the documents that were added before going back");
  }
  MSA_RETURN_IF_ERROR(Keep(latents_.Finish()));
  const Status status = revision_.Revert(revision.value, message);
  // Refused before anything was written.
  if (status.code() == StatusCode::kNotFound) return status;
  MSA_RETURN_IF_ERROR(Keep(status));
  MSA_RETURN_IF_ERROR(Keep(transaction_->Commit()));
  return RevisionId{transaction_->state().head.revision};
}

Status Writer::NameKey(const SigningKey& key) {
  MSA_ASSIGN_OR_RETURN(
      Statement newest,
      transaction_->catalog().db().Prepare(
          "SELECT commitment FROM chain WHERE operation = ?1 ORDER BY seq DESC LIMIT 1"));
  MSA_ASSIGN_OR_RETURN(const bool row,
                       newest.Bind(static_cast<int64_t>(ChainOperation::kSigningKey)).Step());
  if (row && std::ranges::equal(newest.Blob(0), key.public_key())) return OkStatus();
  newest.Reset();
  MSA_RETURN_IF_ERROR(transaction_->Begin());
  MSA_RETURN_IF_ERROR(transaction_->AppendChain(ChainOperation::kSigningKey,
                                                transaction_->state().head.revision,
                                                UnixMilliseconds(), {}, key.public_key()));
  return transaction_->Commit();
}

Certificate Writer::Describe() const {
  const Head& head = transaction_->state().head;
  Certificate certificate;
  certificate.bank = transaction_->core().identity.id;
  certificate.issued_unix_ms = UnixMilliseconds();
  certificate.chain_length = head.chain_length;
  certificate.chain_head = head.chain_head;
  certificate.erase_epoch = head.erase_epoch;
  return certificate;
}

Result<std::string> Writer::Certify(const std::string& key_path,
                                    const std::vector<std::string>& erased) {
  MSA_RETURN_IF_ERROR(failed_);
  MSA_RETURN_IF_ERROR(RequireNothingAdded("signing"));
  const std::string path = key_path.empty() ? DefaultSigningKeyPath() : key_path;
  if (LiesIn(path, transaction_->core().layout.root)) {
    return FailedPrecondition(path +
                              " lies in the bank; who can change the bank could sign for it");
  }
  MSA_ASSIGN_OR_RETURN(const SigningKey key, SigningKey::LoadOrCreate(path));
  MSA_RETURN_IF_ERROR(Keep(NameKey(key)));
  Certificate certificate = Describe();
  for (const std::string& hex : erased) {
    const auto number = ParseHex<sizeof(RandomNumber)>(hex);
    if (!number) return InvalidArgument(hex + " is not the number of a document");
    certificate.erased.push_back(*number);
  }
  if (!erased.empty()) {
    MSA_RETURN_IF_ERROR(CheckErased(transaction_->catalog(), certificate.erased));
  }
  certificate.SignWith(key);
  return certificate.Serialize();
}

Result<std::vector<DocId>> Writer::FindToErase(const EraseRequest& request) {
  Catalog& catalog = transaction_->catalog();
  const BankId& secret = transaction_->core().lookup_secret();
  std::set<DocId> found;
  for (const std::string& name : request.documents) {
    MSA_ASSIGN_OR_RETURN(const DocId document, catalog.FindEver(name, secret));
    found.insert(document);
  }
  if (!request.where.empty()) {
    MSA_ASSIGN_OR_RETURN(const auto matching, catalog.FindEver(request.where, secret));
    found.insert(matching.begin(), matching.end());
  }
  return std::vector<DocId>(found.begin(), found.end());
}

Result<EraseReport> Writer::Erase(const EraseRequest& request, std::string_view message) {
  MSA_RETURN_IF_ERROR(failed_);
  MSA_RETURN_IF_ERROR(RequireNothingAdded("erasing"));
  MSA_ASSIGN_OR_RETURN(const std::vector<DocId> documents, FindToErase(request));
  MSA_RETURN_IF_ERROR(Keep(CloseAll()));
  if (!documents.empty()) MSA_RETURN_IF_ERROR(Keep(erasure_.Intend(documents, message)));
  transaction_->core().DropLatest();
  auto report = erasure_.Proceed();
  if (!report.ok()) return Keep(report.status());
  // What waited may have come to its end when this writer started.
  if (report->numbers.empty()) return resumed_;
  return report;
}

Status Writer::CloseAll() {
  // Comparing may have opened it; cleaning the catalog needs it closed.
  MSA_RETURN_IF_ERROR(transaction_->RollBack());
  revision_.Forget();
  latents_.CloseTails();
  documents_->ClosePack();
  return OkStatus();
}

Result<bool> Writer::CompactionPays() {
  Catalog& catalog = transaction_->catalog();
  MSA_ASSIGN_OR_RETURN(const auto erasure, ReadPendingErasure(catalog));
  if (erasure) return false;
  MSA_ASSIGN_OR_RETURN(const bool due, compaction_.IsLookDue());
  if (!due) return false;
  auto pays = compaction_.Look(automatic_);
  revision_.Forget();
  return pays;
}

Status Writer::CommitAndCompact() {
  MSA_ASSIGN_OR_RETURN(const bool pays, CompactionPays());
  MSA_RETURN_IF_ERROR(transaction_->Commit());
  if (!pays) return OkStatus();
  MSA_RETURN_IF_ERROR(CloseAll());
  const auto report = compaction_.Run(automatic_);
  // What it could not do, for want of space perhaps, the next one tries again.
  if (!report.ok() && (transaction_->has_failed() || transaction_->is_open())) {
    failed_ = report.status();
  }
  return OkStatus();
}

Result<CompactReport> Writer::Compact(std::optional<Retention> retention) {
  MSA_RETURN_IF_ERROR(failed_);
  MSA_RETURN_IF_ERROR(RequireNothingAdded("compacting"));
  if (retention && !IsValid(*retention)) {
    return InvalidArgument(
        "a text is kept for 0 to 1000000 days or for ever, latents for 0 to "
        "1000000 days");
  }
  Catalog& catalog = transaction_->catalog();
  MSA_ASSIGN_OR_RETURN(const auto erasure, ReadPendingErasure(catalog));
  if (erasure) {
    return FailedPrecondition("an erasure waits for its end; finish it first: msa erase BANK");
  }
  MSA_RETURN_IF_ERROR(Keep(CloseAll()));
  MSA_ASSIGN_OR_RETURN(const Retention before, ReadRetention(catalog));
  if (retention && *retention != before) {
    MSA_RETURN_IF_ERROR(Keep(transaction_->Begin()));
    MSA_RETURN_IF_ERROR(Keep(WriteRetention(catalog, *retention)));
    MSA_RETURN_IF_ERROR(Keep(transaction_->Commit()));
  }
  auto report = compaction_.Run(kRequestedCompaction, progress_);
  if (!report.ok()) return Keep(report.status());
  return report;
}

Result<EncodingId> Writer::OpenEncoding(const EncodingInfo& encoding) {
  MSA_RETURN_IF_ERROR(failed_);
  const auto opened = latents_.OpenEncoding(encoding);
  if (!opened.ok()) {
    // Other shapes under the same fingerprint: refused before anything was written.
    if (opened.status().code() == StatusCode::kFailedPrecondition) return opened.status();
    return Keep(opened.status());
  }
  // Pending documents and latents wait for their own commit, and the new row with them.
  if (opened->is_new && pending_documents() == 0 && !latents_.has_pending()) {
    MSA_RETURN_IF_ERROR(Keep(transaction_->Commit()));
  }
  return opened->id;
}

Status Writer::AddLatents(EncodingId encoding, VersionId version, int64_t first_passage,
                          const LatentBlock& block) {
  MSA_RETURN_IF_ERROR(failed_);
  return Keep(latents_.Add(encoding, version, first_passage, block));
}

Status Writer::CommitLatents() {
  MSA_RETURN_IF_ERROR(failed_);
  if (!latents_.has_pending()) return OkStatus();
  if (pending_documents() > 0) {
    return FailedPrecondition("commit the documents that were added before their latents");
  }
  MSA_RETURN_IF_ERROR(Keep(latents_.Finish()));
  return Keep(CommitAndCompact());
}

Result<EncodingId> Writer::OpenPending(const EncodingInfo& encoding) {
  Catalog& catalog = transaction_->catalog();
  MSA_ASSIGN_OR_RETURN(const EncodingId pending, ReadPendingMigration(catalog));
  MSA_ASSIGN_OR_RETURN(const auto known, ReadEncodings(catalog));
  MSA_ASSIGN_OR_RETURN(const LatentWriter::OpenedEncoding opened, latents_.OpenEncoding(encoding));
  const bool replaces = pending.valid() && pending != opened.id;
  if (replaces) {
    MSA_RETURN_IF_ERROR(transaction_->Begin());
    MSA_RETURN_IF_ERROR(DropEncoding(*transaction_, pending));
    MSA_RETURN_IF_ERROR(WritePendingMigration(catalog, {}));
  }
  if (opened.is_new && !known.empty()) {
    MSA_RETURN_IF_ERROR(WritePendingMigration(catalog, opened.id));
  }
  if (transaction_->is_open()) MSA_RETURN_IF_ERROR(transaction_->Commit());
  return opened.id;
}

Result<EncodingId> Writer::BeginMigration(const EncodingInfo& encoding) {
  MSA_RETURN_IF_ERROR(failed_);
  MSA_RETURN_IF_ERROR(RequireNothingAdded("moving to another encoding"));
  latents_.CloseTails();
  auto opened = OpenPending(encoding);
  // Other shapes under the same fingerprint: refused before anything was written.
  if (opened.status().code() == StatusCode::kFailedPrecondition) return opened.status();
  MSA_RETURN_IF_ERROR(Keep(opened.status()));
  return opened;
}

Status Writer::FinishMigration() {
  MSA_RETURN_IF_ERROR(failed_);
  MSA_RETURN_IF_ERROR(RequireNothingAdded("moving to another encoding"));
  latents_.CloseTails();
  return Keep(SwitchToPending(*transaction_));
}

}  // namespace msa
