// The writer's hold on a bank: its lock, its own connection to the catalog, and the order in which
// a commit becomes durable (docs/bank-format.md, "A commit"). What the parts of a write (documents,
// shards, latents) share.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/catalog.h"
#include "msa/bank/chain.h"
#include "msa/bank/core.h"
#include "msa/bank/head.h"
#include "msa/bank/lock.h"

namespace msa {

class WriteTransaction {
 public:
  // Takes the lock, unless it is given one that is held, removes what a crashed writer left,
  // rewrites a head that is behind.
  static Result<std::unique_ptr<WriteTransaction>> Start(std::shared_ptr<BankCore> core,
                                                         LockRecord lock = {});
  // Gives up what was not committed.
  ~WriteTransaction();

  BankCore& core() { return *core_; }
  FileSystem& fs() { return core_->fs; }
  FileTable& files() { return core_->files; }
  Catalog& catalog() { return catalog_; }
  // Counters are advanced in place; the row is written at commit.
  CatalogState& state() { return state_; }

  bool is_open() const { return is_open_; }
  // Opens the catalog's transaction, if it is not.
  Status Begin();
  // Takes back what was written since Begin: rows, and files made by it. REQUIRES: no length that
  // files had before has changed, and nothing of `state` but counters.
  Status RollBack();
  // Whether files that are removed are overwritten with zeros first: they hold what is erased.
  // REQUIRES: the commit that removes them raises the erase epoch, because readers may have them
  // open.
  void OverwriteRemovedFiles(bool overwrites) { overwrites_ = overwrites; }
  // Makes all durable: state row, catalog, head, in this order; then removes the files given to
  // RemoveAfterCommit. REQUIRES: is_open(), files that rows name are synced.
  Status Commit();
  // True once a commit has failed: what is durable shows when another writer starts.
  bool has_failed() const { return has_failed_; }

  // Appends an entry to the chain and moves its head. REQUIRES: is_open().
  Status AppendChain(ChainOperation operation, int64_t revision, int64_t unix_ms,
                     const RandomNumber& number, const Digest& commitment);

  // Rows of `files`. `encoding` is that of a tail or segment.
  Result<FileId> NewFile(FileKind kind, EncodingId encoding = {});
  Status SetFile(FileId id, int64_t length, uint64_t checksum = 0,
                 std::span<const std::byte> blocks = {});
  // Of a shard that this transaction drops; readers may open it until then.
  void DestroyKeyAfterCommit(const RandomNumber& shard) { keys_to_destroy_.push_back(shard); }
  // Deletes the row; the file goes after the commit, so that no reader misses it before.
  Status RemoveAfterCommit(FileKind kind, FileId id);

 private:
  explicit WriteTransaction(std::shared_ptr<BankCore> core) : core_(std::move(core)) {}
  Status Recover();
  Status CatchUpHead();
  // Removes a file that the catalog does not name, as an erasure that is under way wants it.
  Status RemoveLeftover(const std::string& path);
  Status RemoveFile(const std::string& path);
  Status WriteState();
  Status MakeDurable();
  Status DestroyKeys();

  const std::shared_ptr<BankCore> core_;
  LockRecord lock_;
  LockRecord keyring_lock_;  // held where there is a cipher: copies of a bank share the keyring
  Catalog catalog_;
  std::unique_ptr<File> head_file_;
  Statement insert_chain_;
  CatalogState state_;
  bool is_open_ = false;
  bool overwrites_ = false;
  bool has_failed_ = false;
  std::set<std::string> folders_to_sync_;
  std::vector<std::string> new_files_;
  std::vector<std::string> files_to_remove_;
  std::vector<RandomNumber> keys_to_destroy_;  // of shards
};

}  // namespace msa
