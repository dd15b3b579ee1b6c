// What an open bank, its snapshots and its writer share: where the files are, a reading connection
// to the catalog, and caches of open files, shards and decoded text. Snapshots keep it alive.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/bank_cipher.h"
#include "msa/bank/catalog.h"
#include "msa/bank/latents.h"
#include "msa/bank/layout.h"
#include "msa/bank/lexical_shard.h"
#include "msa/bank/lock.h"
#include "msa/bank/passage_set.h"

namespace msa {

// Open packs and tails, their headers checked. Thread-safe.
class FileTable {
 public:
  FileTable(FileSystem& fs, const BankLayout& layout, const BankId& bank)
      : fs_(fs), layout_(layout), bank_(bank) {}

  Result<std::shared_ptr<const File>> Open(FileKind kind, FileId id);
  // Closes all that nobody reads: what was sealed or compacted is unlinked, and goes only when the
  // last handle does.
  void Clear();

 private:
  FileSystem& fs_;
  const BankLayout& layout_;
  const BankId bank_;
  std::mutex mutex_;  // guards files_
  std::map<std::pair<FileKind, FileId>, std::shared_ptr<const File>> files_;
};

// Open lexical shards. Thread-safe.
class ShardCache {
 public:
  explicit ShardCache(const BankLayout& layout) : layout_(layout) {}

  // `cipher`: the bank's, or null.
  Result<std::shared_ptr<LexicalShard>> Open(const Catalog::ShardRow& row, BankCipher* cipher);
  // Forgets shards that are not in `live`; searches under way keep theirs.
  void Prune(const std::vector<Catalog::ShardRow>& live);
  void Clear() { Prune({}); }

 private:
  const BankLayout& layout_;
  std::mutex mutex_;  // guards shards_
  std::map<FileId, std::shared_ptr<LexicalShard>> shards_;
};

// Open sealed segments. Thread-safe.
class SegmentCache {
 public:
  explicit SegmentCache(const BankLayout& layout) : layout_(layout) {}

  Result<std::shared_ptr<const Segment>> Open(const Catalog::FileRow& row,
                                              const LatentLayout& latents);
  // Forgets segments that are not in `live`; who reads them keeps them.
  void Prune(std::span<const Catalog::FileRow> live);
  void Clear() { Prune({}); }

 private:
  const BankLayout& layout_;
  std::mutex mutex_;  // guards segments_
  std::map<FileId, std::shared_ptr<const Segment>> segments_;
};

// The contents read last, up to 64 MiB of text and tokens. Thread-safe.
class ContentCache {
 public:
  std::shared_ptr<const DocumentContent> Find(VersionId version);
  void Insert(VersionId version, std::shared_ptr<const DocumentContent> content);
  void Clear();

 private:
  struct Entry {
    VersionId version;
    std::shared_ptr<const DocumentContent> content;
    int64_t bytes;
  };
  std::mutex mutex_;          // guards what follows
  std::list<Entry> entries_;  // newest first
  int64_t bytes_ = 0;
};

// What filters see, for those used last, up to 64 MiB. Every commit may change it, even for
// revisions of the past: labels are today's, and compaction drops texts. Thread-safe.
class FilterCache {
 public:
  struct Key {
    int64_t commit_number;
    RevisionId revision;
    LabelFilter filter;
    friend bool operator==(const Key&, const Key&) = default;
  };

  // Null if it is not there.
  std::shared_ptr<const VisiblePassages> Find(const Key& key);
  void Insert(Key key, std::shared_ptr<const VisiblePassages> passages);
  void Clear();

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const VisiblePassages> passages;
  };
  std::mutex mutex_;          // guards what follows
  std::list<Entry> entries_;  // newest first
  int64_t bytes_ = 0;
};

struct BankCore {
  BankCore(BankLayout bank_layout, const BankIdentity& bank_identity, FileSystem& file_system)
      : layout(std::move(bank_layout)),
        identity(bank_identity),
        fs(file_system),
        files(fs, layout, identity.id),
        shards(layout),
        segments(layout) {}

  // What lookups of keys and labels are hashed with.
  const BankId& lookup_secret() const {
    return cipher == nullptr ? identity.id : cipher->lookup_secret();
  }

  // A connection for work that may take long, which the shared one must not be kept from others
  // for.
  Result<Catalog> OpenAnotherCatalog() const;

  // Snapshots say when they begin and end, with the erase epoch they began in.
  void AddSnapshot(int64_t epoch);
  void RemoveSnapshot(int64_t epoch);
  // Drops what was cached before a newer erase epoch, and confirms the epoch in `lock` as soon as
  // no older snapshot lives: from then on this process holds nothing of what was erased. REQUIRES:
  // catalog_mutex is not held.
  void NoteEpoch(int64_t epoch);
  // For the same, what else keeps a snapshot; null: nothing. Called without a lock.
  void SetDropLatest(std::function<void()> drop);
  void DropLatest();

  // The kept text and tokens of a version, from the cache or its pack.
  Result<std::shared_ptr<const DocumentContent>> ReadContent(const VersionRow& version);

  const BankLayout layout;
  const BankIdentity identity;
  FileSystem& fs;
  bool read_only = false;
  std::unique_ptr<BankCipher> cipher;  // null: the bank has none
  LockRecord reader_record;            // not held in a folder that cannot be written

  FileTable files;
  ShardCache shards;
  SegmentCache segments;
  ContentCache contents;
  FilterCache filters;

  std::mutex catalog_mutex;  // guards catalog
  std::optional<Catalog> catalog;

 private:
  void ClearCaches();
  // REQUIRES: epoch_mutex_ is held.
  void ConfirmEpochIfFree();

  std::mutex epoch_mutex_;                // guards what follows
  std::map<int64_t, int64_t> snapshots_;  // living ones, by their epoch
  int64_t epoch_ = 0;                     // the newest seen
  int64_t confirmed_epoch_ = 0;
  std::mutex drop_mutex_;  // guards drop_latest_
  std::function<void()> drop_latest_;
};

// True if commits wait in the catalog's WAL, which an immutable connection would not see.
bool HasWal(FileSystem& fs, const BankLayout& layout);

// bank.json of a folder; errors as Bank::Open.
Result<BankIdentity> ReadIdentity(FileSystem& fs, const BankLayout& layout);
// `read_only`: the folder cannot be written.
Result<Catalog> OpenCatalogForReading(FileSystem& fs, const BankLayout& layout, bool read_only,
                                      BankCipher* cipher = nullptr);
// An open bank of which only bank.json and the catalog are there and what they should be, as far as
// that shows without reading on.
enum class Keys {
  kNeeded,
  kNone  // an encrypted bank's cipher has no keys: for an audit, and nothing else
};
Result<std::shared_ptr<BankCore>> OpenUnverified(const std::string& path, FileSystem& fs,
                                                 Keys keys = Keys::kNeeded);
// What Bank::Open does.
Result<std::shared_ptr<BankCore>> OpenCore(const std::string& path, FileSystem& fs,
                                           Keys keys = Keys::kNeeded);

}  // namespace msa
