#include "msa/bank/erasure.h"

#include <algorithm>
#include <map>
#include <set>

#include "msa/bank/committed_files.h"
#include "msa/bank/file_runs.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/latent_writer.h"
#include "msa/bank/lexical_writer.h"
#include "msa/bank/pending_erasure.h"
#include "msa/bank/revision_totals.h"
#include "msa/base/utf8.h"

namespace msa {
namespace {

// Text of erased documents that is kept in memory on the way. Of more, shards are built anew.
constexpr int64_t kKeptTextBytes = int64_t{64} << 20;

Status UpdateTotals(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const std::vector<RevisionTotals> totals, ComputeTotals(catalog));
  MSA_ASSIGN_OR_RETURN(
      Statement update,
      catalog.db().Prepare("UPDATE main.revisions SET documents = ?2, passages = ?3, tokens = ?4,"
                           " text_bytes = ?5 WHERE id = ?1 AND (documents != ?2 OR passages != ?3"
                           " OR tokens != ?4 OR text_bytes != ?5)"));
  for (size_t i = 0; i < totals.size(); ++i) {
    const RevisionTotals& t = totals[i];
    MSA_RETURN_IF_ERROR(
        update.Bind(static_cast<int64_t>(i) + 1, t.documents, t.passages, t.tokens, t.text_bytes)
            .Run());
  }
  return OkStatus();
}

std::string DescribeReaders(std::span<const LockRecord::Holder> readers) {
  std::string text = "readers that have the bank open, in process";
  for (const LockRecord::Holder& reader : readers) {
    text.append(" ").append(std::to_string(reader.process_id));
  }
  return text;
}

}  // namespace

Status Erasure::Intend(std::span<const DocId> documents, std::string_view message) {
  Catalog& catalog = transaction_.catalog();
  const Database& db = catalog.db();
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  MSA_ASSIGN_OR_RETURN(const auto pending, ReadPendingErasure(catalog));
  std::vector<RandomNumber> numbers = pending.value_or(std::vector<RandomNumber>());
  const size_t already = numbers.size();

  MSA_ASSIGN_OR_RETURN(Statement remember,
                       db.Prepare("INSERT OR REPLACE INTO erased SELECT lookup, ?2 FROM documents"
                                  " WHERE id = ?1"));
  // A version that dies where it was born is visible in no revision.
  MSA_ASSIGN_OR_RETURN(Statement bury,
                       db.Prepare("INSERT OR IGNORE INTO deaths SELECT id, birth FROM versions"
                                  " WHERE document = ?1"));
  MSA_ASSIGN_OR_RETURN(Statement number, db.Prepare("SELECT number FROM documents WHERE id = ?1"));
  for (const DocId document : documents) {
    MSA_RETURN_IF_ERROR(remember.Bind(document.value, UnixMilliseconds()).Run());
    MSA_RETURN_IF_ERROR(bury.Bind(document.value).Run());
    MSA_ASSIGN_OR_RETURN(const bool row, number.Bind(document.value).Step());
    RandomNumber& copy = numbers.emplace_back();
    if (!row || number.Blob(0).size() != copy.size()) {
      return DataLoss("catalog: document " + std::to_string(document.value) + " has no number");
    }
    std::ranges::copy(number.Blob(0), copy.begin());
    number.Reset();
  }
  MSA_RETURN_IF_ERROR(UpdateTotals(catalog));
  MSA_RETURN_IF_ERROR(WritePendingErasure(catalog, numbers));
  revision_.Forget();
  MSA_RETURN_IF_ERROR(revision_.Begin());
  for (size_t i = already; i < numbers.size(); ++i) {
    MSA_RETURN_IF_ERROR(transaction_.AppendChain(ChainOperation::kErase, revision_.id(),
                                                 revision_.unix_ms(), numbers[i], {}));
  }
  ++transaction_.state().head.erase_epoch;
  MSA_RETURN_IF_ERROR(revision_.Finish(RevisionKind::kErase, message));
  return transaction_.Commit();
}

Result<std::vector<VersionRow>> Erasure::FindDoomed() {
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(const auto doomed, ReadDoomedVersions(catalog));
  std::vector<VersionRow> versions;
  for (const int64_t id : doomed) {
    MSA_ASSIGN_OR_RETURN(auto version, catalog.FindVersion(VersionId{id}));
    if (version) versions.push_back(*std::move(version));
  }
  return versions;
}

Erasure::Contents Erasure::ReadDoomed(std::span<const VersionRow> versions) {
  Contents contents;
  int64_t text_bytes = 0;
  for (const VersionRow& version : versions) text_bytes += version.info.text_bytes;
  if (text_bytes > kKeptTextBytes) return contents;
  for (const VersionRow& version : versions) {
    const auto file = transaction_.files().Open(FileKind::kPack, version.frame.file);
    if (!file.ok()) continue;
    // Overwritten already, if an erasure was stopped.
    auto content = ReadFrame(**file, version.frame, PassageId{version.first_passage});
    if (!content.ok()) continue;
    if (static_cast<int64_t>(content->passages.size()) != version.info.num_passages) continue;
    contents.emplace(version.info.version, *std::move(content));
  }
  return contents;
}

// Frames and tail blocks have checksums of their own, so zeros in their place disturb nobody.
Status Erasure::ZeroRuns(std::span<const VersionRow> versions) {
  Catalog& catalog = transaction_.catalog();
  std::map<std::pair<FileKind, FileId>, std::vector<FileRange>> ranges;
  MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog));
  for (const VersionRow& version : versions) {
    if (version.info.text_kept) {
      ranges[{FileKind::kPack, version.frame.file}].push_back(
          {version.frame.position, version.frame.length});
    }
    for (const EncodingInfo& encoding : encodings) {
      MSA_ASSIGN_OR_RETURN(const auto places,
                           ReadPlacesOf(catalog, encoding.id, version.info.version));
      for (const LatentPlace& place : places) {
        if (place.kind != FileKind::kTail) continue;
        ranges[{FileKind::kTail, place.file}].push_back(
            {place.position, TailBlockBytes(LatentRowSizes(encoding.layout), place.num_chunks)});
      }
    }
  }
  for (const auto& [file, of_file] : ranges) {
    const std::string path = transaction_.core().layout.File(file.first, file.second);
    MSA_ASSIGN_OR_RETURN(const auto opened, transaction_.fs().Open(path, OpenMode::kReadWrite));
    for (const FileRange& range : of_file) {
      MSA_RETURN_IF_ERROR(ZeroRange(*opened, range.position, range.bytes));
    }
    MSA_RETURN_IF_ERROR(opened->Sync());
    MSA_RETURN_IF_ERROR(opened->Close());
  }
  return OkStatus();
}

// A segment's blocks have common checksums, so one that holds rows to erase is written anew without
// them, and its file overwritten once nothing names it.
Status Erasure::RewriteSegment(const Catalog::FileRow& file, std::span<const VersionRow> versions) {
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(auto places, ReadPlacesInFile(catalog, file.encoding, file.id));
  const auto is_doomed = [&](const LatentPlace& place) {
    return std::ranges::binary_search(versions, place.version, {}, [](const VersionRow& version) {
      return version.info.version.value;
    });
  };
  if (std::erase_if(places, is_doomed) == 0) return OkStatus();
  return ReplaceSegment(transaction_, file, std::move(places));
}

Status Erasure::EraseFromShard(const Catalog::ShardRow& shard, std::span<const VersionRow> versions,
                               const Contents& contents) {
  LexicalWriter lexical(transaction_);
  std::vector<IndexedPassage> passages;
  bool is_known = true;
  bool holds_any = false;
  for (const VersionRow& version : versions) {
    const int64_t first = std::max(version.first_passage, shard.first_passage);
    const int64_t end =
        std::min(version.first_passage + version.info.num_passages, shard.end_passage);
    if (first >= end) continue;
    holds_any = true;
    const auto content = contents.find(version.info.version);
    is_known = is_known && content != contents.end();
    if (!is_known) break;
    for (int64_t id = first; id < end; ++id) {
      const PassageInfo& passage =
          content->second.passages[static_cast<size_t>(id - version.first_passage)];
      passages.push_back(
          {passage.id, version.info.title,
           std::string(TextBetween(content->second.text, passage.begin, passage.end))});
    }
  }
  if (!holds_any) return OkStatus();
  return is_known ? lexical.Remove(shard, passages) : lexical.Rebuild(shard);
}

Status Erasure::DeleteRows(std::span<const VersionRow> versions, const Contents& contents) {
  Catalog& catalog = transaction_.catalog();
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  MSA_ASSIGN_OR_RETURN(auto segments, catalog.Files());
  std::erase_if(segments, [](const auto& file) { return file.kind != FileKind::kSegment; });
  MSA_ASSIGN_OR_RETURN(const auto shards, catalog.Shards());
  Progress progress("erasing", "files", std::ssize(segments) + std::ssize(shards), progress_);
  for (const Catalog::FileRow& segment : segments) {
    MSA_RETURN_IF_ERROR(RewriteSegment(segment, versions));
    progress.Add(1);
  }
  std::set<int64_t> documents;
  for (const char* sql :
       {"DELETE FROM places WHERE version = ?1", "DELETE FROM labels WHERE version = ?1",
        "DELETE FROM deaths WHERE version = ?1", "DELETE FROM main.versions WHERE id = ?1"}) {
    MSA_ASSIGN_OR_RETURN(Statement remove, catalog.db().Prepare(sql));
    for (const VersionRow& version : versions) {
      MSA_RETURN_IF_ERROR(remove.Bind(version.info.version.value).Run());
      documents.insert(version.info.id.value);
    }
  }
  MSA_ASSIGN_OR_RETURN(Statement remove,
                       catalog.db().Prepare("DELETE FROM main.documents WHERE id = ?1"));
  for (const int64_t document : documents) MSA_RETURN_IF_ERROR(remove.Bind(document).Run());

  // After the rows, so that the text indexed again is that of the others.
  for (const Catalog::ShardRow& shard : shards) {
    MSA_RETURN_IF_ERROR(EraseFromShard(shard, versions, contents));
    progress.Add(1);
  }
  // Who began to read since the intent may have files open that are overwritten after this.
  ++transaction_.state().head.erase_epoch;
  transaction_.OverwriteRemovedFiles(true);
  MSA_RETURN_IF_ERROR(transaction_.Commit());
  transaction_.OverwriteRemovedFiles(false);
  return OkStatus();
}

// With them goes what any copy of the bank still holds: of the documents, and of shards that are
// not the bank's any more, which held their words.
Status Erasure::DestroyKeys(std::span<const RandomNumber> documents) {
  const BankCore& core = transaction_.core();
  if (core.cipher == nullptr) return OkStatus();
  Keyring& keyring = core.cipher->keyring();
  for (const RandomNumber& document : documents) {
    MSA_RETURN_IF_ERROR(keyring.Destroy(Keyring::Kind::kDocument, document));
  }
  std::set<RandomNumber> kept;
  MSA_ASSIGN_OR_RETURN(const auto shards, transaction_.catalog().Shards());
  for (const Catalog::ShardRow& shard : shards) {
    MSA_ASSIGN_OR_RETURN(
        const RandomNumber number,
        ReadShardNumber(core.fs, core.layout.File(FileKind::kLexical, shard.file)));
    kept.insert(number);
  }
  MSA_RETURN_IF_ERROR(keyring.DestroyShardsExcept(kept));
  MSA_RETURN_IF_ERROR(keyring.Sync());
  core.cipher->Forget();
  return OkStatus();
}

Result<std::string> Erasure::CleanCatalog() {
  MSA_ASSIGN_OR_RETURN(const bool done, transaction_.catalog().Vacuum());
  if (done) return std::string();
  return std::string("a process that reads the catalog in a transaction");
}

Status Erasure::Finish() {
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  MSA_RETURN_IF_ERROR(RemovePendingErasure(transaction_.catalog()));
  MSA_RETURN_IF_ERROR(transaction_.AppendChain(
      ChainOperation::kErased, transaction_.state().head.revision, UnixMilliseconds(), {}, {}));
  return transaction_.Commit();
}

Result<EraseReport> Erasure::Proceed() {
  EraseReport report;
  report.revision = RevisionId{transaction_.state().head.revision};
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(const auto pending, ReadPendingErasure(catalog));
  if (!pending) return report;
  for (const RandomNumber& number : *pending) report.numbers.push_back(HexEncode(number));
  BankCore& core = transaction_.core();

  MSA_ASSIGN_OR_RETURN(const auto versions, FindDoomed());
  if (!versions.empty()) {
    const Contents contents = ReadDoomed(versions);
    MSA_RETURN_IF_ERROR(ZeroRuns(versions));
    MSA_RETURN_IF_ERROR(DeleteRows(versions, contents));
  }
  core.NoteEpoch(transaction_.state().head.erase_epoch);
  MSA_RETURN_IF_ERROR(DestroyKeys(*pending));
  MSA_ASSIGN_OR_RETURN(report.waits_for, CleanCatalog());
  if (report.waits_for.empty()) {
    MSA_ASSIGN_OR_RETURN(
        const auto behind,
        LockRecord::FindReadersBehind(core.layout.lock(), transaction_.state().head.erase_epoch));
    if (!behind.empty()) report.waits_for = DescribeReaders(behind);
  }
  if (report.waits_for.empty()) MSA_RETURN_IF_ERROR(Finish());
  return report;
}

}  // namespace msa
