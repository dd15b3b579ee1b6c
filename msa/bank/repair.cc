#include "msa/bank/repair.h"

#include <algorithm>
#include <set>

#include "msa/bank/audit.h"
#include "msa/bank/damage.h"
#include "msa/bank/document_writer.h"
#include "msa/bank/file_runs.h"
#include "msa/bank/head.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/latent_writer.h"
#include "msa/bank/lexical_writer.h"
#include "msa/bank/revision_writer.h"
#include "msa/bank/write_transaction.h"

namespace msa {
namespace {

constexpr char kMessage[] = "repair: their text was damaged";
constexpr char kRestoreHint[] = "; this cannot be repaired, restore a backup: msa restore";

Status WithHint(const Status& status) {
  if (status.code() != StatusCode::kDataLoss) return status;
  return DataLoss(status.message() + kRestoreHint);
}

class Repair {
 public:
  Repair(const std::string& path, const RepairOptions& options, FileSystem& fs)
      : layout_{path}, options_(options), fs_(fs) {}

  Result<RepairReport> Run() {
    auto opened = OpenUnverified(layout_.root, fs_);
    if (!opened.ok()) return WithHint(opened.status());
    core_ = *std::move(opened);
    if (core_->read_only) {
      return FailedPrecondition(layout_.root +
                                " cannot be written; copy it to where it can, and repair that");
    }
    MSA_ASSIGN_OR_RETURN(lock_, LockRecord::AcquireWriter(layout_.lock()));
    MSA_RETURN_IF_ERROR(Inspect());
    if (options_.dry_run || report_.is_sound()) return report_;
    MSA_RETURN_IF_ERROR(ReplaceDamagedHead());
    MSA_RETURN_IF_ERROR(PadFiles());
    MSA_RETURN_IF_ERROR(ChangeRows());
    MSA_RETURN_IF_ERROR(ClearFiles());
    const auto audit = AuditBank(*core_, nullptr, options_.progress);
    MSA_RETURN_IF_ERROR(audit.status().WithContext("repaired, but not sound"));
    return report_;
  }

 private:
  Result<Catalog> OpenForWriting() {
    return Catalog::Open(layout_.catalog(), Catalog::Access::kWrite, fs_.sqlite_vfs(),
                         core_->cipher.get());
  }

  // --- what is wrong; changes nothing but the catalog's indexes ---

  Status Inspect() {
    MSA_ASSIGN_OR_RETURN(Catalog catalog, OpenForWriting());
    MSA_RETURN_IF_ERROR(catalog.db().Execute("BEGIN IMMEDIATE"));
    Status status = InspectCatalog(catalog);
    if (status.ok()) status = InspectFiles(catalog);
    const bool keeps_indexes = status.ok() && report_.index && !options_.dry_run;
    const Status ended = catalog.db().Execute(keeps_indexes ? "COMMIT" : "ROLLBACK");
    return status.ok() ? ended : status;
  }

  Status InspectCatalog(Catalog& catalog) {
    Status status = CheckIntegrity(catalog);
    if (!status.ok()) {
      report_.index = true;
      status = catalog.db().Execute("REINDEX");
      if (status.ok()) status = CheckIntegrity(catalog);
    }
    if (status.ok()) status = InspectRows(catalog);
    return WithHint(status.WithContext(layout_.root));
  }

  Status InspectRows(Catalog& catalog) {
    MSA_ASSIGN_OR_RETURN(state_, catalog.ReadState());
    report_.revision = RevisionId{state_.head.revision};
    MSA_ASSIGN_OR_RETURN(const VerifiedChain chain, VerifyChain(catalog, state_.head));
    MSA_RETURN_IF_ERROR(
        VerifyRows(catalog, state_, core_->lookup_secret(), chain, options_.progress));
    InspectHead(chain);
    return OkStatus();
  }

  void InspectHead(const VerifiedChain& chain) {
    const auto file = fs_.Open(layout_.head(), OpenMode::kRead);
    const auto head = file.ok() ? ReadHead(**file, core_->identity.id) : file.status();
    report_.head = !head.ok() || !CheckHead(state_.head, *head, chain).ok();
    if (!report_.head || !head.ok()) return;
    lost_head_ = *head;
    report_.lost_commits = std::max<int64_t>(1, head->commit_number - state_.head.commit_number);
    report_.lost_erasures = head->erase_epoch > state_.head.erase_epoch;
  }

  Status InspectFiles(Catalog& catalog) {
    auto damage =
        FindDamage(*core_, catalog, /*distrusts_places=*/report_.index, options_.progress);
    if (!damage.ok()) return WithHint(damage.status());
    damage_ = *std::move(damage);
    for (const Catalog::FileRow& file : damage_.files) {
      report_.files.push_back(layout_.File(file.kind, file.id));
    }
    for (const LatentPlace& place : damage_.latents) {
      report_.latent_passages += place.num_passages();
    }
    report_.shards = static_cast<int64_t>(damage_.shards.size());
    MSA_ASSIGN_OR_RETURN(const RevisionPath path, catalog.ReadPath(state_.head.revision));
    catalog.SetPath(&path);
    for (const VersionRow& text : damage_.texts) {
      MSA_ASSIGN_OR_RETURN(const auto visible, catalog.FindVisible(text.info.id));
      const bool is_latest = visible && visible->info.version == text.info.version;
      report_.texts.push_back({text.info.key, text.info.born, is_latest});
    }
    catalog.SetPath(nullptr);
    return OkStatus();
  }

  // --- what is done about it ---

  // A head whose commits the catalog has lost counts on from there, so that no number of a commit
  // or file means two things.
  Status ReplaceDamagedHead() {
    if (!report_.head) return OkStatus();
    if (lost_head_) {
      state_.head.commit_number =
          std::max(state_.head.commit_number, lost_head_->commit_number + 1);
      state_.head.erase_epoch = std::max(state_.head.erase_epoch, lost_head_->erase_epoch);
      MSA_ASSIGN_OR_RETURN(const int64_t next_file, NextFile());
      MSA_ASSIGN_OR_RETURN(Catalog catalog, OpenForWriting());
      MSA_ASSIGN_OR_RETURN(
          Statement update,
          catalog.db().Prepare("UPDATE state SET commit_number = ?1, erase_epoch = ?2,"
                               " next_file = ?3"));
      MSA_RETURN_IF_ERROR(
          update.Bind(state_.head.commit_number, state_.head.erase_epoch, next_file).Run());
    }
    return ReplaceHead(fs_, layout_, core_->identity.id, state_.head);
  }

  Result<int64_t> NextFile() {
    int64_t next = state_.next_file;
    for (const FileKind kind : kFileKinds) {
      if (!fs_.Exists(layout_.Folder(kind))) continue;
      MSA_ASSIGN_OR_RETURN(const auto names, fs_.List(layout_.Folder(kind)));
      for (const std::string& name : names) {
        if (const auto id = ParseFileName(kind, name)) next = std::max(next, id->value + 1);
      }
    }
    return next;
  }

  // What is missing is made up by zeros, which no checksum fits: from here on a writer can start,
  // and all damage is damage of contents.
  Status PadFiles() {
    for (const FileKind kind : kFileKinds) {
      MSA_RETURN_IF_ERROR(fs_.MakeDirectory(layout_.Folder(kind)));
    }
    MSA_RETURN_IF_ERROR(fs_.SyncDirectory(layout_.root));
    for (const Catalog::FileRow& row : damage_.files) {
      const std::string path = layout_.File(row.kind, row.id);
      MSA_ASSIGN_OR_RETURN(const auto file, fs_.Open(path, OpenMode::kCreate));
      MSA_ASSIGN_OR_RETURN(const int64_t size, file->Size());
      if (size < row.length) MSA_RETURN_IF_ERROR(file->Truncate(row.length));
      const bool has_header = row.kind == FileKind::kPack || row.kind == FileKind::kTail;
      if (has_header) {
        MSA_RETURN_IF_ERROR(file->WriteAt(0, FileHeader(row.kind, core_->identity.id, row.id)));
      }
      MSA_RETURN_IF_ERROR(file->Sync());
      MSA_RETURN_IF_ERROR(file->Close());
      MSA_RETURN_IF_ERROR(fs_.SyncDirectory(layout_.Folder(row.kind)));
    }
    return OkStatus();
  }

  // One transaction. Afterwards no row names what is damaged.
  Status ChangeRows() {
    // Opened anew: the old connections may have files open that were not there.
    MSA_ASSIGN_OR_RETURN(core_, OpenCore(layout_.root, fs_));
    MSA_ASSIGN_OR_RETURN(transaction_, WriteTransaction::Start(core_, std::move(lock_)));
    if (damage_.files.empty()) return OkStatus();
    RevisionWriter revision(*transaction_, options_.author);
    MSA_RETURN_IF_ERROR(transaction_->Begin());
    MSA_RETURN_IF_ERROR(DropTexts());
    MSA_RETURN_IF_ERROR(DropPlaces(transaction_->catalog(), damage_.latents));
    MSA_RETURN_IF_ERROR(RewriteSegments());
    for (const Catalog::ShardRow& shard : damage_.shards) {
      LexicalWriter lexical(*transaction_);
      MSA_RETURN_IF_ERROR(lexical.Rebuild(shard));
    }
    // After the shards and the texts: what ends a revision may merge shards, from kept text.
    MSA_RETURN_IF_ERROR(RemoveDocuments(revision));
    MSA_RETURN_IF_ERROR(RemoveEmptyFiles());
    MSA_RETURN_IF_ERROR(transaction_->Commit());
    report_.revision = RevisionId{transaction_->state().head.revision};
    return OkStatus();
  }

  Status RemoveDocuments(RevisionWriter& revision) {
    MSA_ASSIGN_OR_RETURN(const auto documents,
                         DocumentWriter::Create(*transaction_, revision, /*readmit=*/false));
    for (const RepairReport::Text& text : report_.texts) {
      if (text.is_latest) MSA_RETURN_IF_ERROR(documents->Remove(text.document).status());
    }
    if (documents->pending_documents() == 0) return OkStatus();
    MSA_RETURN_IF_ERROR(documents->Finish());
    return revision.Finish(RevisionKind::kWrite, kMessage);
  }

  Status DropTexts() {
    std::vector<VersionId> versions;
    for (const VersionRow& text : damage_.texts) versions.push_back(text.info.version);
    return transaction_->catalog().DropTexts(versions);
  }

  // Without the rows whose places are gone.
  Status RewriteSegments() {
    for (const Catalog::FileRow& row : damage_.files) {
      if (row.kind != FileKind::kSegment) continue;
      MSA_ASSIGN_OR_RETURN(auto places,
                           ReadPlacesInFile(transaction_->catalog(), row.encoding, row.id));
      MSA_RETURN_IF_ERROR(ReplaceSegment(*transaction_, row, std::move(places)));
    }
    return OkStatus();
  }

  // Packs and tails that no row names any more.
  Status RemoveEmptyFiles() {
    MSA_ASSIGN_OR_RETURN(Statement used, transaction_->catalog().db().Prepare(
                                             "SELECT 1 FROM versions WHERE file = ?1 UNION ALL"
                                             " SELECT 1 FROM places WHERE file = ?1 LIMIT 1"));
    for (const Catalog::FileRow& row : damage_.files) {
      if (row.kind != FileKind::kPack && row.kind != FileKind::kTail) continue;
      MSA_ASSIGN_OR_RETURN(const bool is_used, used.Bind(row.id.value).Step());
      used.Reset();
      if (!is_used) MSA_RETURN_IF_ERROR(transaction_->RemoveAfterCommit(row.kind, row.id));
    }
    return OkStatus();
  }

  // What no row names is zero.
  Status ClearFiles() {
    MSA_ASSIGN_OR_RETURN(const FileRuns runs, ReadRuns(transaction_->catalog()));
    for (const Catalog::FileRow& row : damage_.files) {
      if (row.kind != FileKind::kPack && row.kind != FileKind::kTail) continue;
      MSA_ASSIGN_OR_RETURN(const auto rows, transaction_->catalog().Files(row.id));
      if (rows.empty()) continue;
      MSA_ASSIGN_OR_RETURN(const auto file,
                           fs_.Open(layout_.File(row.kind, row.id), OpenMode::kReadWrite));
      MSA_RETURN_IF_ERROR(ClearStrayBytes(*file, row.length, RunsOf(runs, row.id)));
      MSA_RETURN_IF_ERROR(file->Close());
    }
    return OkStatus();
  }

  const BankLayout layout_;
  const RepairOptions& options_;
  FileSystem& fs_;
  std::shared_ptr<BankCore> core_;
  LockRecord lock_;
  CatalogState state_;
  std::optional<Head> lost_head_;  // it knows commits that the catalog lacks
  Damage damage_;
  std::unique_ptr<WriteTransaction> transaction_;
  RepairReport report_;
};

}  // namespace

Result<RepairReport> RepairBank(const std::string& path, const RepairOptions& options,
                                FileSystem& fs) {
  return Repair(path, options, fs).Run();
}

}  // namespace msa
