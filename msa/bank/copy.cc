#include "msa/bank/copy.h"

#include <algorithm>
#include <array>
#include <set>

#include "msa/bank/committed_files.h"
#include "msa/bank/contents_check.h"
#include "msa/bank/head.h"
#include "msa/bank/latent_catalog.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr int kAttempts = 10;
constexpr int64_t kPieceBytes = int64_t{4} << 20;
constexpr int kBusyMilliseconds = 10000;

const std::array<const char*, 4> kDatabaseSuffixes = {"", "-journal", "-wal", "-shm"};

// Files that live shortest first: what is merged or sealed while we copy makes us begin again.
constexpr FileKind kCopyOrder[] = {FileKind::kLexical, FileKind::kTail, FileKind::kSegment,
                                   FileKind::kPack};

bool IsWhole(FileKind kind) { return kind == FileKind::kLexical || kind == FileKind::kSegment; }

Status RemoveDatabase(FileSystem& fs, const std::string& path) {
  for (const char* suffix : kDatabaseSuffixes) {
    if (fs.Exists(path + suffix)) MSA_RETURN_IF_ERROR(fs.Remove(path + suffix));
  }
  return OkStatus();
}

bool Holds(std::span<const FileRun> runs, const FileRun& run) {
  const auto found = std::ranges::lower_bound(runs, run.position, {}, &FileRun::position);
  return found != runs.end() && found->SameAs(run);
}

// Gathers runs that follow one another into larger writes.
class RunWriter {
 public:
  explicit RunWriter(File& file) : file_(file) {}

  Status Write(int64_t position, std::span<const std::byte> bytes) {
    const auto size = static_cast<int64_t>(buffer_.size());
    if (position != position_ + size || size >= kPieceBytes) {
      MSA_RETURN_IF_ERROR(Flush());
      position_ = position;
    }
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return OkStatus();
  }

  Status Flush() {
    if (!buffer_.empty()) MSA_RETURN_IF_ERROR(file_.WriteAt(position_, buffer_));
    buffer_.clear();
    return OkStatus();
  }

 private:
  File& file_;
  std::vector<std::byte> buffer_;
  int64_t position_ = -1;
};

}  // namespace

bool BankCopy::MayLeave(std::string_view name) {
  static const std::set<std::string, std::less<>> kNames = {
      "bank.json.tmp", "head", "head.tmp", "lexical", "lock", "packs", "segments"};
  return kNames.contains(name) || name.starts_with("catalog.sqlite") ||
         name.starts_with("backup.sqlite");
}

Result<BankCopy::Contents> BankCopy::ReadContents(Catalog& catalog) {
  Contents contents;
  MSA_ASSIGN_OR_RETURN(const auto files, catalog.Files());
  for (const Catalog::FileRow& file : files) contents.files.emplace(file.id, file);
  MSA_ASSIGN_OR_RETURN(contents.runs, ReadRuns(catalog));
  return contents;
}

Result<BackupReport> BankCopy::Run() {
  MSA_RETURN_IF_ERROR(OpenTarget());
  for (int attempt = 1; attempt <= kAttempts; ++attempt) {
    MSA_RETURN_IF_ERROR(Stage());
    MSA_RETURN_IF_ERROR(CheckContinues());
    const Status copied = CopyFiles();
    MSA_ASSIGN_OR_RETURN(const bool outdated, IsOutdated(copied));
    if (outdated) continue;
    MSA_RETURN_IF_ERROR(copied);
    MSA_RETURN_IF_ERROR(Commit());
    report_.revision = RevisionId{state_.head.revision};
    return report_;
  }
  return Unavailable(from_.layout.root +
                     " changes faster than it can be copied; run it again to go on");
}

Status BankCopy::OpenTarget() {
  if (LiesIn(to_.root, from_.layout.root)) {
    return InvalidArgument(to_.root + " lies in the bank " + from_.layout.root +
                           "; choose a folder outside of it");
  }
  MSA_RETURN_IF_ERROR(fs_.MakeDirectory(to_.root));
  const bool is_first = !fs_.Exists(to_.bank_json());
  if (is_first) {
    MSA_ASSIGN_OR_RETURN(const auto names, fs_.List(to_.root));
    const auto other = std::ranges::find_if_not(names, MayLeave);
    if (other != names.end()) {
      return AlreadyExists(to_.root + " is neither empty nor a backup: it holds " + *other);
    }
    MSA_RETURN_IF_ERROR(SyncNameOf(fs_, to_.root));
  }
  MSA_ASSIGN_OR_RETURN(lock_, LockRecord::AcquireWriter(to_.lock()));
  if (is_first) {
    MSA_RETURN_IF_ERROR(RemoveDatabase(fs_, to_.catalog()));
  } else {
    MSA_RETURN_IF_ERROR(ReadHeld());
  }
  for (const FileKind kind : kFileKinds) MSA_RETURN_IF_ERROR(fs_.MakeDirectory(to_.Folder(kind)));
  return fs_.SyncDirectory(to_.root);
}

Status BankCopy::ReadHeld() {
  const auto held = OpenCore(to_.root, fs_);
  if (held.status().code() == StatusCode::kDataLoss) {
    return DataLoss("the backup is damaged; repair it (msa repair), or begin another: " +
                    held.status().message());
  }
  MSA_RETURN_IF_ERROR(held.status());
  if ((*held)->identity.id != from_.identity.id) {
    return FailedPrecondition(to_.root + " holds another bank, " + HexEncode((*held)->identity.id));
  }
  MSA_ASSIGN_OR_RETURN(Catalog catalog, (*held)->OpenAnotherCatalog());
  MSA_RETURN_IF_ERROR(catalog.db().Execute("BEGIN"));
  MSA_ASSIGN_OR_RETURN(before_, catalog.ReadState());
  MSA_ASSIGN_OR_RETURN(held_, ReadContents(catalog));
  return OkStatus();
}

Status BankCopy::RemoveStaged() {
  staged_.reset();
  return RemoveDatabase(fs_, to_.staged_catalog());
}

Status BankCopy::Stage() {
  MSA_RETURN_IF_ERROR(RemoveStaged());
  {
    MSA_ASSIGN_OR_RETURN(const auto copy, Database::Open(to_.staged_catalog(),
                                                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                                         fs_.sqlite_vfs()));
    // It is made anew by whoever comes after a crash.
    MSA_RETURN_IF_ERROR(copy.Execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF"));
    MSA_ASSIGN_OR_RETURN(Catalog catalog, from_.OpenAnotherCatalog());
    MSA_RETURN_IF_ERROR(CopyDatabase(catalog.db(), copy));
  }
  MSA_ASSIGN_OR_RETURN(staged_, Catalog::Open(to_.staged_catalog(), Catalog::Access::kReadImmutable,
                                              fs_.sqlite_vfs(), from_.cipher.get()));
  MSA_ASSIGN_OR_RETURN(state_, staged_->ReadState());
  MSA_ASSIGN_OR_RETURN(named_, ReadContents(*staged_));
  return OkStatus();
}

Status BankCopy::CheckContinues() {
  if (!before_) return OkStatus();
  const Head& held = before_->head;
  const Head& now = state_.head;
  MSA_ASSIGN_OR_RETURN(Statement entry,
                       staged_->db().Prepare("SELECT hash FROM chain WHERE seq = ?1"));
  bool continues = held == now || (held.commit_number < now.commit_number &&
                                   held.chain_length <= now.chain_length);
  if (continues && held.chain_length > 0) {
    MSA_ASSIGN_OR_RETURN(const bool row, entry.Bind(held.chain_length).Step());
    continues = row && std::ranges::equal(entry.Blob(0), held.chain_head);
  }
  Status status;
  for (const auto& [id, file] : held_.files) {
    const auto same = named_.files.find(id);
    if (same != named_.files.end() && status.ok()) status = CheckFileContinues(file, same->second);
  }
  if (continues && status.ok()) return OkStatus();
  return FailedPrecondition(
      from_.layout.root + " (commit " + std::to_string(now.commit_number) +
      ") does not continue the history of the backup in " + to_.root + " (commit " +
      std::to_string(held.commit_number) +
      "); this bank may be the older of the two, or restored: back up to another folder" +
      (status.ok() ? "" : "; " + status.message()));
}

Status BankCopy::CheckFileContinues(const Catalog::FileRow& held,
                                    const Catalog::FileRow& now) const {
  bool same = held.kind == now.kind && held.encoding == now.encoding;
  if (IsWhole(held.kind)) {
    same = same && held.length == now.length && held.checksum == now.checksum &&
           held.blocks == now.blocks;
  } else {
    same = same && held.length <= now.length;
    for (const FileRun& run : RunsOf(named_.runs, now.id)) {
      if (run.position >= held.length) break;
      same = same && (run.is_doomed || Holds(RunsOf(held_.runs, held.id), run));
    }
  }
  return same ? OkStatus() : DataLoss("file " + std::to_string(now.id.value) + " is another one");
}

Status BankCopy::CopyFiles() {
  int64_t bytes = 0;
  for (const auto& [id, row] : named_.files) bytes += row.length;
  Progress progress("copying", "bytes", bytes, options_.progress);
  report_ = {};
  for (const FileKind kind : kCopyOrder) {
    for (const auto& [id, row] : named_.files) {
      if (row.kind != kind) continue;
      MSA_RETURN_IF_ERROR(CopyFile(row));
      progress.Add(row.length);
    }
    MSA_RETURN_IF_ERROR(fs_.SyncDirectory(to_.Folder(kind)));
  }
  return OkStatus();
}

Status BankCopy::CopyFile(const Catalog::FileRow& row) {
  MSA_RETURN_IF_ERROR(CheckCancelled());
  const Status status = IsWhole(row.kind) ? CopyWhole(row) : CopyRuns(row);
  MSA_RETURN_IF_ERROR(status.WithContext(from_.layout.File(row.kind, row.id)));
  held_.files.insert_or_assign(row.id, row);
  const auto named = RunsOf(named_.runs, row.id);
  std::vector<FileRun>& runs = held_.runs[row.id];
  runs.assign(named.begin(), named.end());
  std::erase_if(runs, [](const FileRun& run) { return run.is_doomed; });
  return OkStatus();
}

Status BankCopy::CheckWhole(const Catalog::FileRow& row) {
  const std::string path = to_.File(row.kind, row.id);
  if (row.kind == FileKind::kLexical) return CheckShardFile(path, row);
  MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, GetEncoding(*staged_, row.encoding));
  return CheckSegmentFile(path, encoding.layout, row).status();
}

Status BankCopy::CopyWhole(const Catalog::FileRow& row) {
  const std::string path = to_.File(row.kind, row.id);
  // One that an interrupted copy has left may be there and whole.
  if (held_.files.contains(row.id) || (fs_.Exists(path) && CheckWhole(row).ok())) {
    report_.kept_bytes += row.length;
    return OkStatus();
  }
  MSA_ASSIGN_OR_RETURN(const auto source,
                       fs_.Open(from_.layout.File(row.kind, row.id), OpenMode::kRead));
  MSA_ASSIGN_OR_RETURN(const auto copy, fs_.Open(path, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(copy->Truncate(0));
  std::vector<std::byte> piece;
  for (int64_t begin = 0; begin < row.length; begin += kPieceBytes) {
    MSA_RETURN_IF_ERROR(CheckCancelled());
    piece.resize(static_cast<size_t>(std::min(kPieceBytes, row.length - begin)));
    MSA_RETURN_IF_ERROR(source->ReadAt(begin, piece));
    MSA_RETURN_IF_ERROR(copy->WriteAt(begin, piece));
  }
  MSA_RETURN_IF_ERROR(copy->Sync());
  MSA_RETURN_IF_ERROR(copy->Close());
  MSA_RETURN_IF_ERROR(CheckWhole(row));
  report_.copied_bytes += row.length;
  return OkStatus();
}

Status BankCopy::CopyRuns(const Catalog::FileRow& row) {
  MSA_ASSIGN_OR_RETURN(const auto source,
                       fs_.Open(from_.layout.File(row.kind, row.id), OpenMode::kRead));
  MSA_RETURN_IF_ERROR(CheckFileHeader(*source, row.kind, from_.identity.id, row.id));
  MSA_ASSIGN_OR_RETURN(const auto copy, fs_.Open(to_.File(row.kind, row.id), OpenMode::kCreate));
  MSA_ASSIGN_OR_RETURN(const int64_t size, copy->Size());
  RunWriter writer(*copy);
  if (!held_.files.contains(row.id)) {
    MSA_RETURN_IF_ERROR(writer.Write(0, FileHeader(row.kind, from_.identity.id, row.id)));
  }
  const std::span<const FileRun> held = RunsOf(held_.runs, row.id);
  std::vector<std::byte> bytes;
  for (const FileRun& run : RunsOf(named_.runs, row.id)) {
    if (run.is_doomed) continue;
    MSA_RETURN_IF_ERROR(CheckCancelled());
    bool is_there = Holds(held, run);
    if (!is_there && run.end() <= size) {
      MSA_RETURN_IF_ERROR(ReadRange(*copy, run.position, run.bytes, &bytes));
      is_there = Checksum64(bytes) == run.checksum;
    }
    if (is_there) {
      report_.kept_bytes += run.bytes;
      continue;
    }
    MSA_RETURN_IF_ERROR(ReadRange(*source, run.position, run.bytes, &bytes));
    if (Checksum64(bytes) != run.checksum) {
      return DataLoss("wrong checksum of the " + std::to_string(run.bytes) + " bytes at " +
                      std::to_string(run.position));
    }
    MSA_RETURN_IF_ERROR(writer.Write(run.position, bytes));
    report_.copied_bytes += run.bytes;
  }
  MSA_RETURN_IF_ERROR(writer.Flush());
  MSA_ASSIGN_OR_RETURN(const int64_t written, copy->Size());
  // What was erased at the end of a file is a hole of it.
  if (written < row.length) MSA_RETURN_IF_ERROR(copy->Truncate(row.length));
  MSA_RETURN_IF_ERROR(copy->Sync());
  return copy->Close();
}

Status BankCopy::CheckCancelled() const {
  if (options_.cancelled == nullptr || !*options_.cancelled) return OkStatus();
  return Cancelled("stopped; run it again to go on");
}

Result<bool> BankCopy::IsOutdated(const Status& copied) {
  if (copied.code() == StatusCode::kCancelled) return false;
  MSA_ASSIGN_OR_RETURN(Catalog catalog, from_.OpenAnotherCatalog());
  MSA_ASSIGN_OR_RETURN(const CatalogState now, catalog.ReadState());
  if (now.head.commit_number == state_.head.commit_number) return false;
  // Erasing overwrites in place: what we read since may be zeros, or what is to be nowhere.
  from_.NoteEpoch(now.head.erase_epoch);
  if (now.head.erase_epoch != state_.head.erase_epoch) return true;
  return copied.code() == StatusCode::kNotFound || copied.code() == StatusCode::kDataLoss;
}

Status BankCopy::CommitCatalog() {
  MSA_ASSIGN_OR_RETURN(
      const auto catalog,
      Database::Open(to_.catalog(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, fs_.sqlite_vfs()));
  sqlite3_busy_timeout(catalog.handle(), kBusyMilliseconds);
  MSA_RETURN_IF_ERROR(catalog.Execute("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON"));
  MSA_RETURN_IF_ERROR(CopyDatabase(staged_->db(), catalog));
  MSA_ASSIGN_OR_RETURN(const bool is_empty, catalog.EmptyWal());
  if (is_empty) return OkStatus();
  return Unavailable(to_.catalog() + ": a process reads it; run this again when it has ended");
}

// Readers of the backup may come at any time from the first line on: each step leaves a bank whose
// writer stopped in between, as far as they can see.
Status BankCopy::Commit() {
  MSA_RETURN_IF_ERROR(CommitCatalog());
  MSA_RETURN_IF_ERROR(ReplaceHead(fs_, to_, from_.identity.id, state_.head));
  std::vector<Catalog::FileRow> rows;
  for (const auto& [id, row] : named_.files) {
    rows.push_back(row);
    if (IsWhole(row.kind)) continue;
    // Where documents were erased, in the bank or after a copy that was interrupted.
    MSA_ASSIGN_OR_RETURN(const auto file,
                         fs_.Open(to_.File(row.kind, row.id), OpenMode::kReadWrite));
    MSA_RETURN_IF_ERROR(ClearStrayBytes(*file, row.length, RunsOf(held_.runs, row.id)));
    MSA_RETURN_IF_ERROR(file->Close());
  }
  const bool overwrites = !before_ || before_->head.erase_epoch != state_.head.erase_epoch;
  MSA_RETURN_IF_ERROR(KeepCommitted(fs_, to_, rows, [&](const std::string& path) -> Status {
    if (overwrites) MSA_RETURN_IF_ERROR(OverwriteFile(fs_, path));
    return fs_.Remove(path);
  }));
  if (!before_) {
    MSA_ASSIGN_OR_RETURN(const std::string json, ReadFile(from_.layout.bank_json()));
    MSA_RETURN_IF_ERROR(WriteFileAtomically(fs_, to_.bank_json(), json));
  }
  MSA_RETURN_IF_ERROR(RemoveStaged());
  return fs_.SyncDirectory(to_.root);
}

}  // namespace msa
