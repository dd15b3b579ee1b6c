#include "msa/bank/compaction.h"

#include <algorithm>
#include <optional>

#include "msa/bank/append_file.h"
#include "msa/bank/compaction_due.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/latent_writer.h"
#include "msa/bank/lexical_writer.h"
#include "msa/bank/pack.h"

namespace msa {
namespace {

std::vector<FileUse> Chosen(std::span<const FileUse> files, const CompactionPolicy& policy) {
  std::vector<FileUse> chosen;
  for (const size_t i : ChooseFiles(files, policy)) chosen.push_back(files[i]);
  return chosen;
}

// Where a version's frame lies in the pack that is written anew.
struct Frame {
  int64_t version;
  int64_t position;
  int64_t length;
};

Result<std::vector<Frame>> FramesIn(Catalog& catalog, FileId pack) {
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       catalog.db().Prepare("SELECT id, position, length FROM versions"
                                            " WHERE file = ?1 ORDER BY position"));
  rows.Bind(pack.value);
  std::vector<Frame> frames;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return frames;
    frames.push_back({rows.Int(0), rows.Int(1), rows.Int(2)});
  }
}

}  // namespace

Result<bool> Compaction::IsLookDue() {
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(const RevisionTotals totals,
                       catalog.ReadTotals(transaction_.state().head.revision));
  return msa::IsLookDue(catalog, totals.text_bytes, Now());
}

Result<bool> Compaction::Look(const CompactionPolicy& policy) {
  Catalog& catalog = transaction_.catalog();
  MSA_RETURN_IF_ERROR(NoteLook(catalog, Now()));
  MSA_ASSIGN_OR_RETURN(const Expired expired,
                       Expired::Find(catalog, transaction_.core().identity.id, Now()));
  MSA_ASSIGN_OR_RETURN(const auto latents, MeasureLatents(catalog, expired));
  if (!ChooseFiles(latents, policy).empty()) return true;
  MSA_ASSIGN_OR_RETURN(const auto packs, MeasurePacks(catalog, expired));
  if (!ChooseFiles(packs, policy).empty()) return true;
  MSA_ASSIGN_OR_RETURN(const auto shards, MeasureShards(catalog));
  if (!ChooseFiles(shards, policy).empty()) return true;
  MSA_ASSIGN_OR_RETURN(const CatalogUse use, MeasureCatalog(catalog));
  return IsWorthVacuum(use, policy);
}

Result<CompactReport> Compaction::Run(const CompactionPolicy& policy, ProgressMode progress) {
  Catalog& catalog = transaction_.catalog();
  progress_ = progress;
  report_ = {};
  MSA_ASSIGN_OR_RETURN(report_.bytes_before, TotalBytes());
  MSA_ASSIGN_OR_RETURN(const Expired expired,
                       Expired::Find(catalog, transaction_.core().identity.id, Now()));
  report_.retention = expired.retention();
  MSA_RETURN_IF_ERROR(CompactLatents(policy, expired));
  MSA_RETURN_IF_ERROR(CompactPacks(policy, expired));
  // After the packs: passages whose text is gone are dead here.
  MSA_RETURN_IF_ERROR(CompactShards(policy));
  // What was read is unlinked, and goes with the last handle.
  transaction_.files().Clear();
  transaction_.core().segments.Clear();
  MSA_ASSIGN_OR_RETURN(const CatalogUse use, MeasureCatalog(catalog));
  // A reader that keeps the WAL from being emptied delays that to the next checkpoint.
  if (IsWorthVacuum(use, policy)) MSA_RETURN_IF_ERROR(catalog.Vacuum().status());
  MSA_ASSIGN_OR_RETURN(report_.bytes_after, TotalBytes());
  return std::move(report_);
}

Result<int64_t> Compaction::TotalBytes() {
  MSA_ASSIGN_OR_RETURN(const CatalogUse use, MeasureCatalog(transaction_.catalog()));
  MSA_ASSIGN_OR_RETURN(Statement sum, transaction_.catalog().db().Prepare(
                                          "SELECT ifnull(sum(length), 0) FROM files"));
  MSA_RETURN_IF_ERROR(sum.Step().status());
  return use.bytes + sum.Int(0);
}

Status Compaction::InOneCommit(Files files, FunctionRef<Status(Files)> rewrite) {
  const CompactReport before = report_;
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  const Status status = rewrite(files);
  if (status.ok()) {
    report_.files += static_cast<int64_t>(files.size());
    return transaction_.Commit();
  }
  report_ = before;
  MSA_RETURN_IF_ERROR(transaction_.RollBack());
  return status;
}

Status Compaction::InParts(Files files, int64_t bytes, Progress& progress,
                           FunctionRef<Status(Files)> rewrite) {
  while (!files.empty()) {
    size_t count = 0;
    for (int64_t live = 0; count < files.size() && (count == 0 || live < bytes); ++count) {
      live += files[count].live;
    }
    const Files part = files.first(count);
    files = files.subspan(count);
    const Status status = InOneCommit(part, rewrite);
    if (!status.ok() && status.code() != StatusCode::kDataLoss) return status;
    if (!status.ok() && part.size() > 1) {
      for (size_t i = 0; i < part.size(); ++i) {
        MSA_RETURN_IF_ERROR(InParts(part.subspan(i, 1), bytes, progress, rewrite));
      }
      continue;
    }
    if (!status.ok()) {
      report_.damaged.push_back(transaction_.core().layout.File(part[0].kind, part[0].id));
    }
    progress.Add(std::ssize(part));
  }
  return OkStatus();
}

Status Compaction::CompactLatents(const CompactionPolicy& policy, const Expired& expired) {
  MSA_ASSIGN_OR_RETURN(const auto files, MeasureLatents(transaction_.catalog(), expired));
  std::vector<FileUse> chosen = Chosen(files, policy);
  Progress progress("compacting latents", "files", std::ssize(chosen), progress_);
  // Parts must be of one encoding and kind; the order within them does not matter.
  while (!chosen.empty()) {
    const FileUse first = chosen.front();
    const auto rest = std::ranges::stable_partition(chosen, [&](const FileUse& file) {
      return file.encoding == first.encoding && file.kind == first.kind;
    });
    MSA_RETURN_IF_ERROR(InParts({chosen.begin(), rest.begin()}, seal_bytes_, progress,
                                [&](Files part) { return RewriteLatents(part, expired); }));
    chosen.erase(chosen.begin(), rest.begin());
  }
  return OkStatus();
}

// Of one encoding and kind.
Status Compaction::RewriteLatents(Files files, const Expired& expired) {
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, GetEncoding(catalog, files.front().encoding));
  std::vector<LatentPlace> live;
  std::vector<LatentPlace> dropped;
  for (const FileUse& file : files) {
    MSA_ASSIGN_OR_RETURN(auto places, ReadPlacesInFile(catalog, encoding.id, file.id));
    for (LatentPlace& place : places) {
      (expired.latents(place.version) ? dropped : live).push_back(std::move(place));
    }
  }
  MSA_RETURN_IF_ERROR(DropPlaces(catalog, dropped));
  for (const LatentPlace& place : dropped) report_.dropped_latents += place.num_passages();
  if (!live.empty()) {
    MSA_RETURN_IF_ERROR(files.front().kind == FileKind::kTail
                            ? CopyToNewTail(transaction_, encoding, live)
                            : ResealPlaces(transaction_, encoding, std::move(live)));
  }
  for (const FileUse& file : files) {
    MSA_RETURN_IF_ERROR(transaction_.RemoveAfterCommit(file.kind, file.id));
  }
  return OkStatus();
}

Status Compaction::CompactPacks(const CompactionPolicy& policy, const Expired& expired) {
  MSA_ASSIGN_OR_RETURN(const auto packs, MeasurePacks(transaction_.catalog(), expired));
  const std::vector<FileUse> chosen = Chosen(packs, policy);
  Progress progress("compacting texts", "files", std::ssize(chosen), progress_);
  return InParts(chosen, kPackBytes, progress,
                 [&](Files part) { return RewritePacks(part, expired); });
}

Status Compaction::RewritePacks(Files packs, const Expired& expired) {
  Catalog& catalog = transaction_.catalog();
  const BankCore& core = transaction_.core();
  MSA_ASSIGN_OR_RETURN(
      Statement move,
      catalog.db().Prepare("UPDATE main.versions SET file = ?2, position = ?3 WHERE id = ?1"));
  std::optional<AppendFile> target;
  std::vector<VersionId> dropped;
  std::vector<std::byte> bytes;
  for (const FileUse& pack : packs) {
    MSA_ASSIGN_OR_RETURN(const auto source, transaction_.files().Open(FileKind::kPack, pack.id));
    MSA_ASSIGN_OR_RETURN(const auto frames, FramesIn(catalog, pack.id));
    for (const Frame& frame : frames) {
      if (expired.text(frame.version)) {
        dropped.emplace_back(frame.version);
        continue;
      }
      if (!target) {
        MSA_ASSIGN_OR_RETURN(const FileId id, transaction_.NewFile(FileKind::kPack));
        MSA_ASSIGN_OR_RETURN(target, AppendFile::Create(core.fs, core.layout, FileKind::kPack,
                                                        core.identity.id, id));
      }
      MSA_RETURN_IF_ERROR(ReadRange(*source, frame.position, frame.length, &bytes));
      MSA_ASSIGN_OR_RETURN(const int64_t position, target->Append(bytes));
      MSA_RETURN_IF_ERROR(move.Bind(frame.version, target->id().value, position).Run());
    }
    MSA_RETURN_IF_ERROR(transaction_.RemoveAfterCommit(pack.kind, pack.id));
  }
  MSA_RETURN_IF_ERROR(catalog.DropTexts(dropped));
  report_.dropped_texts += std::ssize(dropped);
  if (!target) return OkStatus();
  MSA_RETURN_IF_ERROR(target->Sync());
  return transaction_.SetFile(target->id(), target->length());
}

Status Compaction::CompactShards(const CompactionPolicy& policy) {
  MSA_ASSIGN_OR_RETURN(const auto shards, MeasureShards(transaction_.catalog()));
  const std::vector<FileUse> all = Chosen(shards, policy);
  Progress progress("compacting indexes", "files", std::ssize(all), progress_);
  // One a commit: a shard's text is in memory while it is made.
  for (const FileUse& chosen : all) {
    MSA_ASSIGN_OR_RETURN(const auto rows, transaction_.catalog().Shards());
    const auto row = std::ranges::find(rows, chosen.id, &Catalog::ShardRow::file);
    if (row == rows.end()) {  // merged with another of them
      progress.Add(1);
      continue;
    }
    MSA_RETURN_IF_ERROR(InParts({&chosen, 1}, 0, progress, [&](Files) -> Status {
      LexicalWriter lexical(transaction_);
      MSA_RETURN_IF_ERROR(lexical.Rebuild(*row));
      return lexical.Finish();
    }));
  }
  return OkStatus();
}

}  // namespace msa
