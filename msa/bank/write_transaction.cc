#include "msa/bank/write_transaction.h"

#include <utility>

#include "msa/bank/committed_files.h"
#include "msa/bank/pending_erasure.h"
#include "msa/base/check.h"

namespace msa {
Result<std::unique_ptr<WriteTransaction>> WriteTransaction::Start(std::shared_ptr<BankCore> core,
                                                                  LockRecord lock) {
  std::unique_ptr<WriteTransaction> self(new WriteTransaction(std::move(core)));
  const BankLayout& layout = self->core_->layout;
  self->lock_ = std::move(lock);
  if (!self->lock_.held()) {
    MSA_ASSIGN_OR_RETURN(self->lock_, LockRecord::AcquireWriter(layout.lock()));
  }
  if (BankCipher* cipher = self->core_->cipher.get()) {
    MSA_ASSIGN_OR_RETURN(self->keyring_lock_,
                         LockRecord::AcquireWriter(cipher->keyring().path() + ".lock"));
    cipher->Forget();  // another writer may have used what was free when it was read
  }
  MSA_ASSIGN_OR_RETURN(self->catalog_,
                       Catalog::Open(layout.catalog(), Catalog::Access::kWrite,
                                     self->fs().sqlite_vfs(), self->core_->cipher.get()));
  MSA_ASSIGN_OR_RETURN(self->state_, self->catalog_.ReadState());
  MSA_RETURN_IF_ERROR(self->Recover());
  MSA_ASSIGN_OR_RETURN(self->insert_chain_, self->catalog_.db().Prepare(
                                                "INSERT INTO chain VALUES(?1,?2,?3,?4,?5,?6,?7)"));
  return self;
}

WriteTransaction::~WriteTransaction() {
  if (!is_open_) return;
  // The next writer gives the numbers of files made here to others.
  core_->files.Clear();
  core_->segments.Clear();
}

Status WriteTransaction::Recover() {
  MSA_RETURN_IF_ERROR(CatchUpHead());
  MSA_ASSIGN_OR_RETURN(const auto erasure, ReadPendingErasure(catalog_));
  MSA_ASSIGN_OR_RETURN(const auto rows, catalog_.Files());
  const bool is_erasing = erasure.has_value();
  MSA_RETURN_IF_ERROR(
      KeepCommitted(fs(), core_->layout, rows, [&](const std::string& path) -> Status {
        return is_erasing ? RemoveLeftover(path) : fs().Remove(path);
      }));
  overwrites_ = false;
  return OkStatus();
}

Status WriteTransaction::RemoveLeftover(const std::string& path) {
  if (!overwrites_) {
    // The commit that dropped it need not have been the erasure's: readers may have it open.
    MSA_RETURN_IF_ERROR(Begin());
    ++state_.head.erase_epoch;
    MSA_RETURN_IF_ERROR(Commit());
    overwrites_ = true;
  }
  return RemoveFile(path);
}

Status WriteTransaction::CatchUpHead() {
  MSA_ASSIGN_OR_RETURN(head_file_, fs().Open(core_->layout.head(), OpenMode::kReadWrite));
  MSA_ASSIGN_OR_RETURN(const Head head, ReadHead(*head_file_, core_->identity.id));
  if (head == state_.head) return OkStatus();
  if (head.commit_number >= state_.head.commit_number) {
    return DataLoss(core_->layout.catalog() + " is at commit " +
                    std::to_string(state_.head.commit_number) + ", head says " +
                    std::to_string(head.commit_number));
  }
  return WriteHead(*head_file_, core_->identity.id, state_.head);
}

Status WriteTransaction::Begin() {
  if (is_open_) return OkStatus();
  MSA_RETURN_IF_ERROR(catalog_.db().Execute("BEGIN IMMEDIATE"));
  is_open_ = true;
  return OkStatus();
}

Status WriteTransaction::RollBack() {
  if (!is_open_) return OkStatus();
  is_open_ = false;
  files_to_remove_.clear();
  keys_to_destroy_.clear();
  folders_to_sync_.clear();
  core_->files.Clear();
  core_->segments.Clear();
  for (const std::string& path : new_files_) {
    // What stays behind is removed by the next writer.
    if (fs().Exists(path)) [[maybe_unused]]
      const Status ignored = RemoveFile(path);
  }
  new_files_.clear();
  return catalog_.db().Execute("ROLLBACK");
}

Status WriteTransaction::RemoveFile(const std::string& path) {
  if (overwrites_) MSA_RETURN_IF_ERROR(OverwriteFile(fs(), path));
  return fs().Remove(path);
}

Status WriteTransaction::WriteState() {
  MSA_ASSIGN_OR_RETURN(
      Statement update,
      catalog_.db().Prepare("UPDATE state SET commit_number = ?1, revision = ?2,"
                            " chain_length = ?3, chain_head = ?4, erase_epoch = ?5,"
                            " next_document = ?6, next_version = ?7, next_passage = ?8,"
                            " next_file = ?9"));
  const Head& head = state_.head;
  return update
      .Bind(head.commit_number, head.revision, head.chain_length,
            std::span<const std::byte>(head.chain_head), head.erase_epoch, state_.next_document,
            state_.next_version, state_.next_passage, state_.next_file)
      .Run();
}

Status WriteTransaction::Commit() {
  MSA_CHECK(is_open_);
  const Status status = MakeDurable();
  has_failed_ = !status.ok();
  return status;
}

Status WriteTransaction::MakeDurable() {
  for (const std::string& folder : folders_to_sync_) {
    MSA_RETURN_IF_ERROR(fs().SyncDirectory(folder));
  }
  folders_to_sync_.clear();
  // The keys of what this commit brings: without them it would hold nothing.
  if (core_->cipher != nullptr) MSA_RETURN_IF_ERROR(core_->cipher->keyring().Sync());
  ++state_.head.commit_number;
  MSA_RETURN_IF_ERROR(WriteState());
  MSA_RETURN_IF_ERROR(catalog_.db().Execute("COMMIT"));
  is_open_ = false;
  new_files_.clear();
  MSA_RETURN_IF_ERROR(WriteHead(*head_file_, core_->identity.id, state_.head));
  for (const std::string& path : files_to_remove_) {
    const Status status = RemoveFile(path);
    // What stays behind is removed by the next writer; an erasure is not done before.
    if (overwrites_) MSA_RETURN_IF_ERROR(status);
  }
  files_to_remove_.clear();
  const Status status = DestroyKeys();
  return overwrites_ ? status : OkStatus();
}

Status WriteTransaction::DestroyKeys() {
  const std::vector<RandomNumber> keys = std::exchange(keys_to_destroy_, {});
  if (keys.empty()) return OkStatus();
  Keyring& keyring = core_->cipher->keyring();
  for (const RandomNumber& key : keys) {
    MSA_RETURN_IF_ERROR(keyring.Destroy(Keyring::Kind::kShard, key));
  }
  return keyring.Sync();
}

Status WriteTransaction::AppendChain(ChainOperation operation, int64_t revision, int64_t unix_ms,
                                     const RandomNumber& number, const Digest& commitment) {
  MSA_CHECK(is_open_);
  Head& head = state_.head;
  const ChainEntry entry{head.chain_length + 1, unix_ms, operation, revision, number, commitment};
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

Result<FileId> WriteTransaction::NewFile(FileKind kind, EncodingId encoding) {
  MSA_CHECK(is_open_);
  const FileId id{state_.next_file++};
  folders_to_sync_.insert(core_->layout.Folder(kind));
  new_files_.push_back(core_->layout.File(kind, id));
  MSA_ASSIGN_OR_RETURN(
      Statement insert,
      catalog_.db().Prepare("INSERT INTO files VALUES(?1, ?2, nullif(?3, -1), 0, 0, zeroblob(0))"));
  MSA_RETURN_IF_ERROR(insert.Bind(id.value, static_cast<int64_t>(kind), encoding.value).Run());
  return id;
}

Status WriteTransaction::SetFile(FileId id, int64_t length, uint64_t checksum,
                                 std::span<const std::byte> blocks) {
  MSA_ASSIGN_OR_RETURN(Statement update,
                       catalog_.db().Prepare("UPDATE files SET length = ?2, checksum = ?3,"
                                             " blocks = ?4 WHERE id = ?1"));
  return update.Bind(id.value, length, static_cast<int64_t>(checksum), blocks).Run();
}

Status WriteTransaction::RemoveAfterCommit(FileKind kind, FileId id) {
  MSA_ASSIGN_OR_RETURN(Statement remove, catalog_.db().Prepare("DELETE FROM files WHERE id = ?1"));
  MSA_RETURN_IF_ERROR(remove.Bind(id.value).Run());
  files_to_remove_.push_back(core_->layout.File(kind, id));
  return OkStatus();
}

}  // namespace msa
