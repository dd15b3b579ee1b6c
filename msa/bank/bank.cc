#include "msa/bank/bank.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>

#include "msa/bank/audit.h"
#include "msa/bank/certificate.h"
#include "msa/bank/chain.h"
#include "msa/bank/core.h"
#include "msa/bank/head.h"
#include "msa/bank/history.h"
#include "msa/bank/layout.h"
#include "msa/bank/snapshot.h"
#include "msa/bank/verify_erased.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

constexpr int64_t kMaxBankJsonBytes = 64 << 10;

// What Create makes before bank.json, which comes last.
const std::set<std::string, std::less<>> kCreateLeaves = {"catalog.sqlite",
                                                          "catalog.sqlite-wal",
                                                          "catalog.sqlite-shm",
                                                          "catalog.sqlite-journal",
                                                          "head",
                                                          "lexical",
                                                          "lock",
                                                          "packs",
                                                          "segments",
                                                          "bank.json.tmp"};

bool IsInterruptedCreate(const std::vector<std::string>& names) {
  return std::ranges::all_of(names, [](const auto& n) { return kCreateLeaves.contains(n); });
}

// kNotFound or kInvalidArgument for a path without a bank.json.
Status NoBank(FileSystem& fs, const std::string& path) {
  std::error_code ignored;
  if (!fs.Exists(path)) {
    const auto target = std::filesystem::read_symlink(path, ignored);
    if (target.empty()) return NotFound(path + ": no such folder");
    return NotFound(path + " is a link to " + target.string() + ", which is not there");
  }
  if (!std::filesystem::is_directory(path, ignored)) {
    return InvalidArgument(path + " is a file; a bank is a folder");
  }
  if (fs.Exists(BankLayout{path}.staged_catalog())) {
    return FailedPrecondition(path + ": a backup to here was interrupted; run it again");
  }
  MSA_ASSIGN_OR_RETURN(const auto names, fs.List(path));
  if (IsInterruptedCreate(names)) return NotFound(path + ": no bank was created here yet");
  return InvalidArgument(path + " is no bank: it has no bank.json");
}

Result<Head> ReadHeadFile(FileSystem& fs, const BankLayout& layout, const BankId& bank) {
  MSA_ASSIGN_OR_RETURN(const auto file, fs.Open(layout.head(), OpenMode::kRead));
  auto head = ReadHead(*file, bank);
  if (!head.ok()) return head.status().WithContext(layout.root);
  return head;
}

// The catalog may be ahead of the head (a writer stopped between the two), never behind it.
Status CheckAgainstHead(const std::string& path, const Head& catalog, const Head& head) {
  if (catalog.commit_number > head.commit_number || catalog == head) return OkStatus();
  return DataLoss(path + ": the catalog is at commit " + std::to_string(catalog.commit_number) +
                  ", head says " + std::to_string(head.commit_number) +
                  "; the newest commits were lost or rolled back");
}

Status VerifyFile(BankCore& core, const Catalog::FileRow& row) {
  const std::string path = core.layout.File(row.kind, row.id);
  const auto file = core.fs.Open(path, OpenMode::kRead);
  if (!file.ok()) return DataLoss(path + " is in the catalog, but: " + file.status().message());
  MSA_ASSIGN_OR_RETURN(const int64_t size, (*file)->Size());
  if (size >= row.length) return OkStatus();
  return DataLoss(path + " has " + std::to_string(size) + " bytes, expected " +
                  std::to_string(row.length));
}

// What can be checked without reading contents.
Status VerifyFiles(BankCore& core) {
  MSA_ASSIGN_OR_RETURN(const auto rows, core.catalog->Files());
  for (const Catalog::FileRow& row : rows) {
    const Status status = VerifyFile(core, row);
    if (status.ok()) continue;
    // A writer may have merged or sealed the file since it was listed.
    MSA_ASSIGN_OR_RETURN(const auto still_there, core.catalog->Files(row.id));
    if (!still_there.empty()) return status;
  }
  return OkStatus();
}

}  // namespace

Result<BankIdentity> ReadIdentity(FileSystem& fs, const BankLayout& layout) {
  if (!fs.Exists(layout.bank_json())) return NoBank(fs, layout.root);
  MSA_ASSIGN_OR_RETURN(const std::string json, ReadFile(layout.bank_json(), kMaxBankJsonBytes));
  auto identity = ParseBankJson(json);
  if (!identity.ok()) return identity.status().WithContext(layout.root);
  return identity;
}

Result<Catalog> OpenCatalogForReading(FileSystem& fs, const BankLayout& layout, bool read_only,
                                      BankCipher* cipher) {
  if (!fs.Exists(layout.catalog())) return DataLoss(layout.catalog() + " is missing");
  const auto open = [&](Catalog::Access access) {
    return Catalog::Open(layout.catalog(), access, fs.sqlite_vfs(), cipher);
  };
  if (!read_only) return open(Catalog::Access::kRead);
  if (!HasWal(fs, layout)) {
    return open(Catalog::Access::kReadImmutable);
  }
  auto catalog = open(Catalog::Access::kRead);
  if (catalog.ok()) return catalog;
  return FailedPrecondition(layout.root +
                            " cannot be written and was not closed cleanly (catalog.sqlite-wal "
                            "holds commits): open it once where it can be written, or copy the "
                            "whole folder and open the copy; " +
                            catalog.status().message());
}

std::string_view ChangeName(ChangeKind change) {
  switch (change) {
    case ChangeKind::kAdded: return "added";
    case ChangeKind::kReplaced: return "replaced";
    case ChangeKind::kRemoved: return "removed";
    case ChangeKind::kErased: return "erased";
  }
  MSA_CHECK(false);
}

namespace {

// OpenCore, whose errors say what to do about damage.
Result<std::shared_ptr<BankCore>> OpenForUse(const std::string& path, FileSystem& fs, Keys keys) {
  auto core = OpenCore(path, fs, keys);
  if (core.status().code() != StatusCode::kDataLoss) return core;
  return DataLoss(core.status().message() +
                  "; msa repair drops what is damaged, msa restore brings back a backup");
}

// `anchor`: the text of a certificate.
Result<AuditReport> AuditAgainst(BankCore& core, std::optional<std::string_view> anchor,
                                 ProgressMode progress) {
  if (!anchor) return AuditBank(core, nullptr, progress);
  MSA_ASSIGN_OR_RETURN(const Certificate certificate, Certificate::Parse(*anchor));
  return AuditBank(core, &certificate, progress);
}

class BankImpl final : public Bank {
 public:
  explicit BankImpl(std::shared_ptr<BankCore> core) : core_(std::move(core)) {
    core_->SetDropLatest([this] {
      const std::lock_guard lock(latest_mutex_);
      latest_.reset();
    });
  }
  ~BankImpl() override { core_->SetDropLatest(nullptr); }

  const std::string& path() const override { return core_->layout.root; }
  const BankOptions& options() const override { return core_->identity.options; }
  bool read_only() const override { return core_->read_only; }

  Result<std::shared_ptr<const Snapshot>> Latest() override {
    const std::lock_guard latest_lock(latest_mutex_);
    MSA_RETURN_IF_ERROR(RenewLatest());
    core_->NoteEpoch(latest_->erase_epoch());
    return std::shared_ptr<const Snapshot>(latest_);
  }

  Result<std::shared_ptr<const Snapshot>> At(RevisionId revision) override {
    std::shared_ptr<const BankSnapshot> snapshot;
    {
      const std::lock_guard lock(core_->catalog_mutex);
      MSA_RETURN_IF_ERROR(LeaveImmutable());
      MSA_ASSIGN_OR_RETURN(snapshot, BankSnapshot::Create(core_, revision));
    }
    core_->NoteEpoch(snapshot->erase_epoch());
    return std::shared_ptr<const Snapshot>(std::move(snapshot));
  }

  Status Log(FunctionRef<bool(const RevisionInfo&)> on_revision) override {
    return InTransaction(
        [&](const CatalogState& state) { return ReadLog(*core_->catalog, state, on_revision); });
  }

  Result<std::vector<DocumentChange>> Diff(RevisionId from, RevisionId to) override {
    std::vector<DocumentChange> changes;
    MSA_RETURN_IF_ERROR(InTransaction([&](const CatalogState& state) -> Status {
      MSA_RETURN_IF_ERROR(CheckRevision(state, from.value));
      MSA_RETURN_IF_ERROR(CheckRevision(state, to.value));
      MSA_ASSIGN_OR_RETURN(changes, DiffRevisions(*core_->catalog, from.value, to.value));
      return OkStatus();
    }));
    return changes;
  }

  Result<AuditReport> Audit(std::optional<std::string_view> anchor,
                            ProgressMode progress) override {
    return AuditAgainst(*core_, anchor, progress);
  }

  Result<ErasureProof> VerifyErased(std::string_view certificate,
                                    std::optional<std::string_view> content,
                                    ProgressMode progress) override {
    MSA_ASSIGN_OR_RETURN(const Certificate parsed, Certificate::Parse(certificate));
    return VerifyErasure(*core_, parsed, content, progress);
  }

  Result<std::unique_ptr<BankWriter>> StartWrite(WriteOptions options) override {
    if (core_->read_only) {
      return FailedPrecondition(core_->layout.root + " cannot be written; it is open for reading");
    }
    return Writer::Start(core_, std::move(options));
  }

 private:
  // REQUIRES: latest_mutex_ is held.
  Status RenewLatest() {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_RETURN_IF_ERROR(LeaveImmutable());
    if (latest_ != nullptr) {
      MSA_ASSIGN_OR_RETURN(const CatalogState state, core_->catalog->ReadState());
      if (state.head.commit_number == latest_->commit_number()) return OkStatus();
    }
    core_->files.Clear();
    MSA_ASSIGN_OR_RETURN(latest_, BankSnapshot::Create(core_));
    return OkStatus();
  }

  // Everything that `read` asks the catalog is of one moment.
  Status InTransaction(FunctionRef<Status(const CatalogState&)> read) {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_RETURN_IF_ERROR(LeaveImmutable());
    MSA_RETURN_IF_ERROR(core_->catalog->db().Execute("BEGIN"));
    const auto state = core_->catalog->ReadState();
    const Status status = state.ok() ? read(*state) : state.status();
    const Status ended = core_->catalog->db().Execute("COMMIT");
    return status.ok() ? ended : status;
  }

  // An immutable catalog ignores a WAL. Once there is one, a writer elsewhere is at work.
  Status LeaveImmutable() {
    if (!core_->read_only || !HasWal(core_->fs, core_->layout)) return OkStatus();
    MSA_ASSIGN_OR_RETURN(
        core_->catalog, OpenCatalogForReading(core_->fs, core_->layout, true, core_->cipher.get()));
    return OkStatus();
  }

  const std::shared_ptr<BankCore> core_;
  std::mutex latest_mutex_;  // guards latest_; taken before the catalog's
  std::shared_ptr<const BankSnapshot> latest_;
};

}  // namespace

Result<std::unique_ptr<Bank>> Bank::Create(const std::string& path, const BankOptions& options,
                                           FileSystem& fs) {
  if (options.passage_tokens < 1 || options.chunk_tokens < 1) {
    return InvalidArgument("passage_tokens and chunk_tokens must be positive");
  }
  const BankLayout layout{path};
  MSA_RETURN_IF_ERROR(fs.MakeDirectory(path));
  MSA_ASSIGN_OR_RETURN(auto names, fs.List(path));
  if (!IsInterruptedCreate(names)) return AlreadyExists(path + " is not an empty folder");
  MSA_ASSIGN_OR_RETURN(LockRecord lock, LockRecord::AcquireWriter(layout.lock()));
  // Another process may have created the bank before the lock was ours.
  if (fs.Exists(layout.bank_json())) return AlreadyExists(path + " holds a bank");
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    if (fs.Exists(layout.catalog() + suffix)) {
      MSA_RETURN_IF_ERROR(fs.Remove(layout.catalog() + suffix));
    }
  }
  for (const FileKind kind : kFileKinds) {
    MSA_RETURN_IF_ERROR(fs.MakeDirectory(layout.Folder(kind)));
  }
  BankIdentity identity;
  identity.id = MakeRandomNumber();
  identity.created_unix_ms = UnixMilliseconds();
  identity.options = options;
  if (options.encrypt) MSA_RETURN_IF_ERROR(BankCipher::Create(fs, layout, identity.id));
  MSA_RETURN_IF_ERROR(Catalog::Create(layout.catalog(), fs.sqlite_vfs()));
  {
    MSA_ASSIGN_OR_RETURN(auto head, fs.Open(layout.head(), OpenMode::kCreate));
    MSA_RETURN_IF_ERROR(InitializeHead(*head, identity.id, Head{}));
    MSA_RETURN_IF_ERROR(head->Close());
  }
  MSA_RETURN_IF_ERROR(fs.SyncDirectory(path));
  MSA_RETURN_IF_ERROR(WriteFileAtomically(fs, layout.bank_json(), SerializeBankJson(identity)));
  MSA_RETURN_IF_ERROR(SyncNameOf(fs, path));
  lock = LockRecord();
  return Open(path, fs);
}

Result<std::unique_ptr<Bank>> Bank::Open(const std::string& path, FileSystem& fs) {
  MSA_ASSIGN_OR_RETURN(auto core, OpenForUse(path, fs, Keys::kNeeded));
  return std::unique_ptr<Bank>(std::make_unique<BankImpl>(std::move(core)));
}

Result<AuditReport> Bank::AuditWithoutKeys(const std::string& path,
                                           std::optional<std::string_view> anchor,
                                           ProgressMode progress, FileSystem& fs) {
  MSA_ASSIGN_OR_RETURN(const auto core, OpenForUse(path, fs, Keys::kNone));
  return AuditAgainst(*core, anchor, progress);
}

Result<std::shared_ptr<BankCore>> OpenUnverified(const std::string& path, FileSystem& fs,
                                                 Keys keys) {
  const BankLayout layout{path};
  MSA_ASSIGN_OR_RETURN(const BankIdentity identity, ReadIdentity(fs, layout));
  auto core = std::make_shared<BankCore>(layout, identity, fs);
  core->read_only = ::access(path.c_str(), W_OK) != 0;
  if (identity.options.encrypt && keys == Keys::kNone) {
    core->cipher = BankCipher::WithoutKeys(identity.id);
  } else if (identity.options.encrypt) {
    MSA_ASSIGN_OR_RETURN(core->cipher, BankCipher::Open(fs, identity.id));
  }
  if (!core->read_only) {
    MSA_ASSIGN_OR_RETURN(core->reader_record, LockRecord::AcquireReader(layout.lock()));
  }
  auto catalog = OpenCatalogForReading(fs, layout, core->read_only, core->cipher.get());
  if (!catalog.ok()) return catalog.status().WithContext(layout.catalog());
  core->catalog = *std::move(catalog);
  MSA_ASSIGN_OR_RETURN(const CatalogState state, core->catalog->ReadState());
  core->NoteEpoch(state.head.erase_epoch);
  return core;
}

Result<std::shared_ptr<BankCore>> OpenCore(const std::string& path, FileSystem& fs, Keys keys) {
  const BankLayout layout{path};
  MSA_ASSIGN_OR_RETURN(const BankIdentity identity, ReadIdentity(fs, layout));
  // Before the catalog: its commits come first, so it is never behind a head read earlier.
  MSA_ASSIGN_OR_RETURN(const Head head, ReadHeadFile(fs, layout, identity.id));
  MSA_ASSIGN_OR_RETURN(auto core, OpenUnverified(path, fs, keys));
  MSA_ASSIGN_OR_RETURN(const CatalogState state, core->catalog->ReadState());
  MSA_RETURN_IF_ERROR(CheckAgainstHead(path, state.head, head));
  MSA_RETURN_IF_ERROR(VerifyFiles(*core));
  return core;
}

}  // namespace msa
