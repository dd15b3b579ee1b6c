// The bank, and plain SQLite in its place, behind one interface: a store of documents with
// full-text search and a history that can be gone back in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "msa/bank/bank.h"

namespace msa::bench {

// Failures end the benchmark: std::runtime_error.
class Store {
 public:
  virtual ~Store() = default;

  virtual void Open() = 0;
  // Ends what Open began; nothing stays in the process's own caches.
  virtual void Close() = 0;

  // Adds a document, or replaces the one of its key.
  virtual void Put(const NewDocument& document) = 0;
  // Makes what was put a revision, synced; returns its number.
  virtual int64_t Commit() = 0;
  // A new revision that shows what `revision` did.
  virtual void Revert(int64_t revision) = 0;
  // After it no byte of the document is left.
  virtual void Erase(const std::string& key) = 0;

  virtual std::string FirstListed() = 0;
  // Documents or passages found, of at most ten.
  virtual int64_t Search(const std::string& words) = 0;
  virtual int64_t CountDocuments() = 0;

  int64_t DiskBytes() const;

 protected:
  explicit Store(std::string folder) : folder_(std::move(folder)) {}
  const std::string& folder() const { return folder_; }

 private:
  const std::string folder_;
};

// Both make `folder`, and are closed at first. `encrypt`: keys lie where MSA_KEYRINGS and
// MSA_MASTER_KEY_FILE say.
std::unique_ptr<Store> MakeBankStore(const std::string& folder, bool encrypt);
// One table of documents, with an FTS5 index of titles and texts over it and a table of the
// versions that were replaced; WAL, synchronous=FULL.
std::unique_ptr<Store> MakeSqliteStore(const std::string& folder);

}  // namespace msa::bench
