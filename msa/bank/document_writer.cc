#include "msa/bank/document_writer.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "msa/base/check.h"

namespace msa {
namespace {

constexpr int64_t kPackBytes = int64_t{256} << 20;

constexpr int64_t kRevisionWrite = 1;

// The name of the user who runs the program, or their number.
std::string Author() {
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    return found->pw_name;
  }
  return std::to_string(::geteuid());
}

Status CheckDocument(const NewDocument& document) {
  if (document.key.empty()) return InvalidArgument("a document needs a key");
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

Result<std::unique_ptr<DocumentWriter>> DocumentWriter::Create(WriteTransaction& transaction) {
  std::unique_ptr<DocumentWriter> writer(new DocumentWriter(transaction));
  MSA_RETURN_IF_ERROR(writer->PrepareStatements());
  return writer;
}

Status DocumentWriter::PrepareStatements() {
  const Database& db = transaction_.catalog().db();
  MSA_ASSIGN_OR_RETURN(find_document_, db.Prepare("SELECT id FROM documents WHERE lookup = ?1"));
  MSA_ASSIGN_OR_RETURN(
      find_current_,
      db.Prepare("SELECT v.id, v.text_hash = ?2 AND v.title = ?3 AND v.labels = ?4,"
                 " v.num_passages, v.num_tokens, v.text_bytes FROM versions v"
                 " WHERE v.document = ?1 AND on_path(v.birth) AND NOT EXISTS (SELECT 1 FROM"
                 " deaths d WHERE d.version = v.id AND on_path(d.revision))"));
  MSA_ASSIGN_OR_RETURN(document_number_, db.Prepare("SELECT number FROM documents WHERE id = ?1"));
  MSA_ASSIGN_OR_RETURN(insert_document_, db.Prepare("INSERT INTO documents VALUES(?1,?2,?3,?4)"));
  MSA_ASSIGN_OR_RETURN(insert_version_,
                       db.Prepare("INSERT INTO versions VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,"
                                  "?12,?13,?14,?15,?16,0,?17,?18,?19,?20)"));
  MSA_ASSIGN_OR_RETURN(insert_label_, db.Prepare("INSERT INTO labels VALUES(?1,?2)"));
  MSA_ASSIGN_OR_RETURN(insert_death_, db.Prepare("INSERT INTO deaths VALUES(?1,?2)"));
  MSA_ASSIGN_OR_RETURN(insert_chain_, db.Prepare("INSERT INTO chain VALUES(?1,?2,?3,?4,?5,?6,?7)"));
  return OkStatus();
}

Result<AddOutcome> DocumentWriter::Add(const NewDocument& document) {
  MSA_RETURN_IF_ERROR(CheckDocument(document));
  MSA_RETURN_IF_ERROR(BeginRevision());
  Prepared prepared{document, LabelsJson(document.labels), Blake2b(AsBytes(document.text)),
                    MakeRandomNumber(), 0};
  for (const NewPassage& passage : document.passages) {
    prepared.num_tokens += static_cast<int64_t>(passage.tokens.size());
  }

  const std::string lookup = KeyLookup(transaction_.core().identity.id, document.key);
  MSA_ASSIGN_OR_RETURN(std::optional<DocId> id, FindDocument(lookup));
  std::optional<Current> current;
  RandomNumber number = MakeRandomNumber();
  if (id) {
    MSA_ASSIGN_OR_RETURN(current, FindCurrent(*id, prepared));
    if (current && current->same) return AddOutcome::kUnchanged;
    MSA_ASSIGN_OR_RETURN(const bool row, document_number_.Bind(id->value).Step());
    if (row && document_number_.Blob(0).size() == number.size()) {
      std::ranges::copy(document_number_.Blob(0), number.begin());
    }
    document_number_.Reset();
  } else {
    MSA_ASSIGN_OR_RETURN(id, InsertDocument(document, lookup, number));
  }
  if (current) MSA_RETURN_IF_ERROR(InsertDeath(*current));

  const int64_t first_passage = transaction_.state().next_passage;
  MSA_RETURN_IF_ERROR(InsertVersion(*id, prepared));
  MSA_RETURN_IF_ERROR(IndexPassages(first_passage, document));
  MSA_RETURN_IF_ERROR(AppendChain(
      current ? ChainOperation::kReplace : ChainOperation::kAdd, number,
      CommitToDocument(prepared.salt, document, prepared.labels_json, prepared.text_hash)));
  ++pending_documents_;
  pending_text_bytes_ += static_cast<int64_t>(document.text.size());
  return current ? AddOutcome::kReplaced : AddOutcome::kAdded;
}

// Opens the transaction and finds out what the current revision sees, once for each revision.
Status DocumentWriter::BeginRevision() {
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  if (revision_ != 0) return OkStatus();
  Catalog& catalog = transaction_.catalog();
  const int64_t parent = transaction_.state().head.revision;
  MSA_ASSIGN_OR_RETURN(const RevisionPath path, catalog.ReadPath(parent));
  path_ = path.Extended();
  catalog.SetPath(&path_);
  MSA_ASSIGN_OR_RETURN(
      Statement totals,
      catalog.db().Prepare("SELECT documents, passages, tokens, text_bytes FROM revisions"
                           " WHERE id = ?1"));
  MSA_ASSIGN_OR_RETURN(const bool row, totals.Bind(parent).Step());
  totals_ = row ? Totals{totals.Int(0), totals.Int(1), totals.Int(2), totals.Int(3)} : Totals{};
  revision_ = parent + 1;
  return OkStatus();
}

Result<std::optional<DocId>> DocumentWriter::FindDocument(std::string_view lookup) {
  MSA_ASSIGN_OR_RETURN(const bool row, find_document_.Bind(AsBytes(lookup)).Step());
  std::optional<DocId> id;
  if (row) id = DocId{find_document_.Int(0)};
  find_document_.Reset();
  return id;
}

Result<std::optional<DocumentWriter::Current>> DocumentWriter::FindCurrent(
    DocId document, const Prepared& prepared) {
  find_current_.Bind(document.value, std::span<const std::byte>(prepared.text_hash),
                     prepared.document.title, prepared.labels_json);
  MSA_ASSIGN_OR_RETURN(const bool row, find_current_.Step());
  std::optional<Current> current;
  if (row) {
    current = Current{find_current_.Int(0), find_current_.Int(1) != 0, find_current_.Int(2),
                      find_current_.Int(3), find_current_.Int(4)};
  }
  find_current_.Reset();
  return current;
}

Result<DocId> DocumentWriter::InsertDocument(const NewDocument& document, std::string_view lookup,
                                             const RandomNumber& number) {
  const DocId id{transaction_.state().next_document++};
  MSA_RETURN_IF_ERROR(
      insert_document_
          .Bind(id.value, std::span<const std::byte>(number), AsBytes(lookup), document.key)
          .Run());
  return id;
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

Result<FramePlace> DocumentWriter::AppendFrame(const NewDocument& document) {
  MSA_RETURN_IF_ERROR(OpenPack());
  MSA_ASSIGN_OR_RETURN(const auto frame, encoder_.Encode(document));
  MSA_ASSIGN_OR_RETURN(const int64_t position, pack_->Append(frame));
  return FramePlace{pack_->id(), position, static_cast<int64_t>(frame.size()), Checksum64(frame)};
}

Status DocumentWriter::InsertVersion(DocId id, const Prepared& prepared) {
  const NewDocument& document = prepared.document;
  MSA_ASSIGN_OR_RETURN(const FramePlace frame, AppendFrame(document));
  CatalogState& state = transaction_.state();
  const VersionId version{state.next_version++};
  const auto num_passages = static_cast<int64_t>(document.passages.size());
  const auto text_bytes = static_cast<int64_t>(document.text.size());
  MSA_RETURN_IF_ERROR(insert_version_
                          .Bind(version.value, id.value, revision_, state.next_passage,
                                num_passages, prepared.num_tokens, text_bytes, document.title,
                                document.source_path, document.source_sha256, document.source_bytes,
                                document.media_type, prepared.labels_json, UnixMilliseconds(),
                                std::span<const std::byte>(prepared.text_hash),
                                std::span<const std::byte>(prepared.salt), frame.file.value,
                                frame.position, frame.length, static_cast<int64_t>(frame.checksum))
                          .Run());
  for (const auto& [name, value] : document.labels) {
    const std::string lookup = LabelLookup(transaction_.core().identity.id, name, value);
    MSA_RETURN_IF_ERROR(insert_label_.Bind(AsBytes(lookup), version.value).Run());
  }
  state.next_passage += num_passages;
  ++totals_.documents;
  totals_.passages += num_passages;
  totals_.tokens += prepared.num_tokens;
  totals_.text_bytes += text_bytes;
  return OkStatus();
}

Status DocumentWriter::IndexPassages(int64_t first_passage, const NewDocument& document) {
  for (size_t i = 0; i < document.passages.size(); ++i) {
    const NewPassage& passage = document.passages[i];
    MSA_RETURN_IF_ERROR(
        lexical_.Add(PassageId{first_passage + static_cast<int64_t>(i)}, document.title,
                     std::string_view(document.text)
                         .substr(static_cast<size_t>(passage.begin),
                                 static_cast<size_t>(passage.end - passage.begin))));
  }
  return OkStatus();
}

Status DocumentWriter::InsertDeath(const Current& current) {
  MSA_RETURN_IF_ERROR(insert_death_.Bind(current.version, revision_).Run());
  --totals_.documents;
  totals_.passages -= current.num_passages;
  totals_.tokens -= current.num_tokens;
  totals_.text_bytes -= current.text_bytes;
  return OkStatus();
}

Status DocumentWriter::AppendChain(ChainOperation operation, const RandomNumber& number,
                                   const Digest& commitment) {
  Head& head = transaction_.state().head;
  const ChainEntry entry{
      head.chain_length + 1, UnixMilliseconds(), operation, revision_, number, commitment};
  const Digest hash = HashEntry(head.chain_head, entry);
  MSA_RETURN_IF_ERROR(insert_chain_
                          .Bind(entry.seq, entry.unix_ms, static_cast<int64_t>(operation),
                                entry.revision, std::span<const std::byte>(entry.number),
                                std::span<const std::byte>(entry.commitment),
                                std::span<const std::byte>(hash))
                          .Run());
  head.chain_length = entry.seq;
  head.chain_head = hash;
  return OkStatus();
}

Status DocumentWriter::InsertRevision(std::string_view message) {
  MSA_ASSIGN_OR_RETURN(
      Statement insert,
      transaction_.catalog().db().Prepare("INSERT INTO revisions VALUES(?1, nullif(?2, 0), ?3, ?4,"
                                          " ?5, ?6, ?7, ?8, ?9, ?10, ?11)"));
  const std::string author = Author();
  MSA_RETURN_IF_ERROR(insert
                          .Bind(revision_, revision_ - 1, path_.run_begin(), UnixMilliseconds(),
                                author, message, kRevisionWrite, totals_.documents,
                                totals_.passages, totals_.tokens, totals_.text_bytes)
                          .Run());
  return AppendChain(ChainOperation::kRevision, RandomNumber{}, CommitToRevision(author, message));
}

Status DocumentWriter::Commit(std::string_view message) {
  MSA_CHECK(pending_documents_ > 0);
  MSA_RETURN_IF_ERROR(pack_->Sync());
  MSA_RETURN_IF_ERROR(transaction_.SetFile(pack_->id(), pack_->length()));
  MSA_RETURN_IF_ERROR(lexical_.Finish());
  MSA_RETURN_IF_ERROR(InsertRevision(message));
  transaction_.state().head.revision = revision_;
  MSA_RETURN_IF_ERROR(transaction_.Commit());
  revision_ = 0;
  pending_documents_ = 0;
  pending_text_bytes_ = 0;
  return OkStatus();
}

}  // namespace msa
