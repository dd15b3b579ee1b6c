#include "msa/bank/document_writer.h"

#include <algorithm>

#include "msa/base/check.h"
#include "msa/base/utf8.h"

namespace msa {
namespace {

Status CheckDocument(const NewDocument& document) {
  if (document.key.empty()) return InvalidArgument("a document needs a key");
  if (std::ssize(document.passages) > kMaxPassages) {
    return InvalidArgument(document.key + ": " + std::to_string(document.passages.size()) +
                           " passages, at most " + std::to_string(kMaxPassages) +
                           " are possible; split it");
  }
  int64_t end = 0;
  for (const NewPassage& passage : document.passages) {
    if (passage.begin < end || passage.end < passage.begin ||
        passage.end > static_cast<int64_t>(document.text.size())) {
      return InvalidArgument(document.key + ": passage at bytes " + std::to_string(passage.begin) +
                             " to " + std::to_string(passage.end) +
                             " overlaps another or leaves the text");
    }
    end = passage.end;
  }
  return OkStatus();
}

}  // namespace

DocumentWriter::Prepared::Prepared(const NewDocument& new_document)
    : document(new_document),
      content{document.title, LabelsJson(document.labels), Blake2b(AsBytes(document.text))},
      totals{1, static_cast<int64_t>(document.passages.size()), 0,
             static_cast<int64_t>(document.text.size())} {
  for (const NewPassage& passage : document.passages) {
    totals.tokens += static_cast<int64_t>(passage.tokens.size());
  }
}

CommittedFields DocumentWriter::Prepared::committed_fields() const {
  return {document.key,           document.title,      document.source_path,
          document.source_sha256, document.media_type, content.labels_json};
}

Result<std::unique_ptr<DocumentWriter>> DocumentWriter::Create(WriteTransaction& transaction,
                                                               RevisionWriter& revision,
                                                               bool readmit) {
  std::unique_ptr<DocumentWriter> writer(new DocumentWriter(transaction, revision, readmit));
  MSA_RETURN_IF_ERROR(writer->PrepareStatements());
  return writer;
}

Status DocumentWriter::PrepareStatements() {
  const Database& db = transaction_.catalog().db();
  MSA_ASSIGN_OR_RETURN(find_document_,
                       db.Prepare("SELECT id, number FROM documents WHERE lookup = ?1"));
  MSA_ASSIGN_OR_RETURN(find_erased_, db.Prepare("SELECT 1 FROM erased WHERE lookup = ?1"));
  MSA_ASSIGN_OR_RETURN(forget_erased_, db.Prepare("DELETE FROM erased WHERE lookup = ?1"));
  MSA_ASSIGN_OR_RETURN(insert_document_,
                       db.Prepare("INSERT INTO main.documents VALUES(?1,?2,?3,?4)"));
  MSA_ASSIGN_OR_RETURN(
      insert_version_,
      db.Prepare("INSERT INTO main.versions VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,"
                 "?12,?13,?14,?15,?16,0,?17,?18,?19,?20)"));
  MSA_ASSIGN_OR_RETURN(insert_label_, db.Prepare("INSERT INTO labels VALUES(?1,?2)"));
  MSA_ASSIGN_OR_RETURN(insert_death_, db.Prepare("INSERT INTO deaths VALUES(?1,?2)"));
  return OkStatus();
}

Result<AddOutcome> DocumentWriter::Compare(std::string_view key, const Content& content) {
  MSA_RETURN_IF_ERROR(revision_.Begin());
  MSA_ASSIGN_OR_RETURN(const auto known, FindDocument(key));
  if (!known) {
    MSA_ASSIGN_OR_RETURN(const bool refused, IsRefused(key));
    return refused ? AddOutcome::kErased : AddOutcome::kAdded;
  }
  MSA_ASSIGN_OR_RETURN(const auto current, transaction_.catalog().FindVisible(known->id));
  if (!current) return AddOutcome::kAdded;
  return content.SameAs(*current) ? AddOutcome::kUnchanged : AddOutcome::kReplaced;
}

Result<DocumentWriter::Added> DocumentWriter::Add(const NewDocument& document) {
  MSA_RETURN_IF_ERROR(CheckDocument(document));
  MSA_RETURN_IF_ERROR(revision_.Begin());
  Catalog& catalog = transaction_.catalog();
  Prepared prepared(document);
  MSA_ASSIGN_OR_RETURN(std::optional<Known> known, FindDocument(document.key));
  std::optional<VersionRow> current;
  Added added;
  if (known) {
    MSA_ASSIGN_OR_RETURN(current, catalog.FindVisible(known->id));
    if (current && prepared.content.SameAs(*current)) return added;
    if (current) {
      added.previous = current;
    } else {
      MSA_ASSIGN_OR_RETURN(added.previous, catalog.FindNewest(known->id));
    }
  } else {
    MSA_ASSIGN_OR_RETURN(const bool refused, IsRefused(document.key));
    if (refused) {
      added.outcome = AddOutcome::kErased;
      return added;
    }
    MSA_ASSIGN_OR_RETURN(known, InsertDocument(document));
  }
  if (current) MSA_RETURN_IF_ERROR(InsertDeath(*current));

  prepared.salt = MakeRandomNumber();
  const int64_t first_passage = transaction_.state().next_passage;
  MSA_ASSIGN_OR_RETURN(added.version, InsertVersion(*known, prepared));
  MSA_RETURN_IF_ERROR(IndexPassages(first_passage, document));
  MSA_RETURN_IF_ERROR(AppendChain(
      current ? ChainOperation::kReplace : ChainOperation::kAdd, known->number,
      CommitToDocument(prepared.salt, prepared.committed_fields(), prepared.content.text_hash)));
  ++pending_documents_;
  pending_text_bytes_ += prepared.totals.text_bytes;
  added.outcome = current ? AddOutcome::kReplaced : AddOutcome::kAdded;
  return added;
}

Result<bool> DocumentWriter::Remove(std::string_view key) {
  MSA_RETURN_IF_ERROR(revision_.Begin());
  MSA_ASSIGN_OR_RETURN(const auto known, FindDocument(key));
  if (!known) return false;
  MSA_ASSIGN_OR_RETURN(const auto current, transaction_.catalog().FindVisible(known->id));
  if (!current) return false;
  MSA_RETURN_IF_ERROR(InsertDeath(*current));
  MSA_RETURN_IF_ERROR(AppendChain(
      ChainOperation::kRemove, known->number,
      CommitToDocument(current->salt, current->committed_fields(), current->text_hash)));
  ++pending_documents_;
  return true;
}

Result<std::optional<DocumentWriter::Known>> DocumentWriter::FindDocument(std::string_view key) {
  const std::string lookup = KeyLookup(transaction_.core().lookup_secret(), key);
  MSA_ASSIGN_OR_RETURN(const bool row, find_document_.Bind(AsBytes(lookup)).Step());
  std::optional<Known> known;
  if (row) {
    known = Known{DocId{find_document_.Int(0)}, {}};
    const auto number = find_document_.Blob(1);
    if (number.size() == known->number.size()) std::ranges::copy(number, known->number.begin());
  }
  find_document_.Reset();
  return known;
}

Result<bool> DocumentWriter::IsRefused(std::string_view key) {
  if (readmit_) return false;
  const std::string lookup = KeyLookup(transaction_.core().lookup_secret(), key);
  MSA_ASSIGN_OR_RETURN(const bool row, find_erased_.Bind(AsBytes(lookup)).Step());
  find_erased_.Reset();
  return row;
}

Result<DocumentWriter::Known> DocumentWriter::InsertDocument(const NewDocument& document) {
  const Known known{DocId{transaction_.state().next_document++}, MakeRandomNumber()};
  const std::string lookup = KeyLookup(transaction_.core().lookup_secret(), document.key);
  std::optional<Sealer> sealer;
  if (BankCipher* cipher = transaction_.core().cipher.get()) {
    MSA_RETURN_IF_ERROR(cipher->keyring().Add(Keyring::Kind::kDocument, known.number).status());
    MSA_ASSIGN_OR_RETURN(sealer, cipher->OfDocument(known.number, 0));
  }
  MSA_RETURN_IF_ERROR(insert_document_
                          .Bind(known.id.value, std::span<const std::byte>(known.number),
                                AsBytes(lookup),
                                SealedValue(sealer, SealedColumn::kKey, document.key))
                          .Run());
  // One that was erased comes back as another document, under a number of its own.
  if (readmit_) MSA_RETURN_IF_ERROR(forget_erased_.Bind(AsBytes(lookup)).Run());
  return known;
}

Status DocumentWriter::OpenPack() {
  if (pack_ && pack_->length() < kPackBytes) return OkStatus();
  if (pack_) {
    MSA_RETURN_IF_ERROR(pack_->Sync());
    MSA_RETURN_IF_ERROR(transaction_.SetFile(pack_->id(), pack_->length()));
    pack_.reset();
  }
  const BankCore& core = transaction_.core();
  MSA_ASSIGN_OR_RETURN(
      Statement last, transaction_.catalog().db().Prepare(
                          "SELECT id, length FROM files WHERE kind = ?1 ORDER BY id DESC LIMIT 1"));
  MSA_ASSIGN_OR_RETURN(const bool row, last.Bind(static_cast<int64_t>(FileKind::kPack)).Step());
  if (row && last.Int(1) < kPackBytes) {
    MSA_ASSIGN_OR_RETURN(pack_, AppendFile::Open(core.fs, core.layout, FileKind::kPack,
                                                 FileId{last.Int(0)}, last.Int(1)));
    return OkStatus();
  }
  MSA_ASSIGN_OR_RETURN(const FileId id, transaction_.NewFile(FileKind::kPack));
  MSA_ASSIGN_OR_RETURN(
      pack_, AppendFile::Create(core.fs, core.layout, FileKind::kPack, core.identity.id, id));
  return OkStatus();
}

Result<FramePlace> DocumentWriter::AppendFrame(const NewDocument& document,
                                               const std::optional<Sealer>& sealer) {
  MSA_RETURN_IF_ERROR(OpenPack());
  MSA_ASSIGN_OR_RETURN(std::span<const std::byte> frame, encoder_.Encode(document));
  std::vector<std::byte> message;
  if (sealer) frame = message = sealer->Seal(CipherRole::kFrame, 0, 0, frame);
  MSA_ASSIGN_OR_RETURN(const int64_t position, pack_->Append(frame));
  return FramePlace{pack_->id(), position, static_cast<int64_t>(frame.size()), Checksum64(frame),
                    sealer};
}

Result<std::optional<Sealer>> DocumentWriter::FindSealer(const Known& known, VersionId version) {
  BankCipher* cipher = transaction_.core().cipher.get();
  if (cipher == nullptr) return std::optional<Sealer>();
  MSA_ASSIGN_OR_RETURN(auto sealer, cipher->OfDocument(known.number, version.value));
  if (sealer) return sealer;
  return FailedPrecondition("document " + std::to_string(known.id.value) +
                            " was erased, its key is destroyed; this is an older copy of the bank");
}

Result<VersionId> DocumentWriter::InsertVersion(const Known& known, const Prepared& prepared) {
  const NewDocument& document = prepared.document;
  const RevisionTotals& totals = prepared.totals;
  CatalogState& state = transaction_.state();
  const VersionId version{state.next_version++};
  MSA_ASSIGN_OR_RETURN(const auto sealer, FindSealer(known, version));
  MSA_ASSIGN_OR_RETURN(const FramePlace frame, AppendFrame(document, sealer));
  const auto sealed = [&](SealedColumn column, std::string_view value) {
    return SealedValue(sealer, column, value);
  };
  MSA_RETURN_IF_ERROR(
      insert_version_
          .Bind(version.value, known.id.value, revision_.id(), state.next_passage, totals.passages,
                totals.tokens, totals.text_bytes, sealed(SealedColumn::kTitle, document.title),
                sealed(SealedColumn::kSourcePath, document.source_path),
                sealed(SealedColumn::kSourceSha256, document.source_sha256), document.source_bytes,
                sealed(SealedColumn::kMediaType, document.media_type),
                sealed(SealedColumn::kLabels, prepared.content.labels_json), revision_.unix_ms(),
                sealed(SealedColumn::kTextHash, AsChars(prepared.content.text_hash)),
                sealed(SealedColumn::kSalt, AsChars(prepared.salt)), frame.file.value,
                frame.position, frame.length, static_cast<int64_t>(frame.checksum))
          .Run());
  for (const auto& [name, value] : document.labels) {
    const std::string lookup = LabelLookup(transaction_.core().lookup_secret(), name, value);
    MSA_RETURN_IF_ERROR(insert_label_.Bind(AsBytes(lookup), version.value).Run());
  }
  state.next_passage += totals.passages;
  revision_.Include(totals);
  return version;
}

Status DocumentWriter::IndexPassages(int64_t first_passage, const NewDocument& document) {
  for (size_t i = 0; i < document.passages.size(); ++i) {
    const NewPassage& passage = document.passages[i];
    MSA_RETURN_IF_ERROR(lexical_.Add(PassageId{first_passage + static_cast<int64_t>(i)},
                                     document.title,
                                     TextBetween(document.text, passage.begin, passage.end)));
  }
  return OkStatus();
}

Status DocumentWriter::InsertDeath(const VersionRow& version) {
  MSA_RETURN_IF_ERROR(insert_death_.Bind(version.info.version.value, revision_.id()).Run());
  revision_.Exclude(version.totals());
  return OkStatus();
}

Status DocumentWriter::AppendChain(ChainOperation operation, const RandomNumber& number,
                                   const Digest& commitment) {
  return transaction_.AppendChain(operation, revision_.id(), revision_.unix_ms(), number,
                                  commitment);
}

Status DocumentWriter::Finish() {
  MSA_CHECK(pending_documents_ > 0);
  if (pack_) {  // none where documents were only removed
    MSA_RETURN_IF_ERROR(pack_->Sync());
    MSA_RETURN_IF_ERROR(transaction_.SetFile(pack_->id(), pack_->length()));
  }
  MSA_RETURN_IF_ERROR(lexical_.Finish());
  pending_documents_ = 0;
  pending_text_bytes_ = 0;
  return OkStatus();
}

}  // namespace msa
