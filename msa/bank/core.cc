#include "msa/bank/core.h"

#include <algorithm>

#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr int64_t kContentCacheBytes = int64_t{64} << 20;
// Larger contents are not worth keeping: one would push out all others.
constexpr int64_t kLargestCachedBytes = kContentCacheBytes / 2;

constexpr int64_t kFilterCacheBytes = int64_t{64} << 20;

int64_t ContentBytes(const DocumentContent& content) {
  int64_t tokens = 0;
  for (const auto& ids : content.tokens) tokens += static_cast<int64_t>(ids.size());
  return static_cast<int64_t>(content.text.size()) + tokens * 4 +
         static_cast<int64_t>(content.passages.size() * sizeof(PassageInfo));
}

}  // namespace

Result<std::shared_ptr<const File>> FileTable::Open(FileKind kind, FileId id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = files_.find({kind, id}); found != files_.end()) return found->second;
  const std::string path = layout_.File(kind, id);
  MSA_ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs_.Open(path, OpenMode::kRead));
  const Status status = CheckFileHeader(*file, kind, bank_, id);
  if (!status.ok()) return status.WithContext(path);
  std::shared_ptr<const File> shared = std::move(file);
  files_.emplace(std::pair(kind, id), shared);
  return shared;
}

void FileTable::Clear() {
  const std::lock_guard lock(mutex_);
  files_.clear();
}

Result<std::shared_ptr<LexicalShard>> ShardCache::Open(const Catalog::ShardRow& row,
                                                       BankCipher* cipher) {
  const std::lock_guard lock(mutex_);
  if (const auto found = shards_.find(row.file); found != shards_.end()) return found->second;
  const std::string path = layout_.File(FileKind::kLexical, row.file);
  MSA_ASSIGN_OR_RETURN(auto shard, LexicalShard::Open(path, row.length_bytes, row.blocks, cipher));
  if (shard->first_passage() != row.first_passage || shard->end_passage() != row.end_passage ||
      shard->passages() != row.passages) {
    return DataLoss(path + ": covers other passages than the catalog says");
  }
  shards_.emplace(row.file, shard);
  return shard;
}

void ShardCache::Prune(const std::vector<Catalog::ShardRow>& live) {
  const std::lock_guard lock(mutex_);
  std::erase_if(shards_, [&](const auto& entry) {
    return std::ranges::none_of(live, [&](const auto& row) { return row.file == entry.first; });
  });
}

Result<std::shared_ptr<const Segment>> SegmentCache::Open(const Catalog::FileRow& row,
                                                          const LatentLayout& latents) {
  const std::lock_guard lock(mutex_);
  if (const auto found = segments_.find(row.id); found != segments_.end()) return found->second;
  const std::string path = layout_.File(FileKind::kSegment, row.id);
  MSA_ASSIGN_OR_RETURN(auto segment, Segment::Open(path, latents, row.length, row.checksum));
  segments_.emplace(row.id, segment);
  return segment;
}

void SegmentCache::Prune(std::span<const Catalog::FileRow> live) {
  const std::lock_guard lock(mutex_);
  std::erase_if(segments_, [&](const auto& entry) {
    return std::ranges::none_of(live, [&](const auto& row) { return row.id == entry.first; });
  });
}

std::shared_ptr<const DocumentContent> ContentCache::Find(VersionId version) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(entries_, version, &Entry::version);
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return entries_.front().content;
}

void ContentCache::Insert(VersionId version, std::shared_ptr<const DocumentContent> content) {
  const int64_t bytes = ContentBytes(*content);
  if (bytes > kLargestCachedBytes) return;
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(entries_, version, &Entry::version) != entries_.end()) return;
  entries_.push_front({version, std::move(content), bytes});
  bytes_ += bytes;
  // Bounded in number too, because lookups walk the list.
  while (bytes_ > kContentCacheBytes || entries_.size() > 256) {
    bytes_ -= entries_.back().bytes;
    entries_.pop_back();
  }
}

void ContentCache::Clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
  bytes_ = 0;
}

std::shared_ptr<const VisiblePassages> FilterCache::Find(const Key& key) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(entries_, key, &Entry::key);
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return entries_.front().passages;
}

void FilterCache::Insert(Key key, std::shared_ptr<const VisiblePassages> passages) {
  const int64_t bytes = passages->kept.size_bytes();
  if (bytes > kFilterCacheBytes) return;
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(entries_, key, &Entry::key) != entries_.end()) return;
  entries_.push_front({std::move(key), std::move(passages)});
  bytes_ += bytes;
  // Bounded in number too, because lookups walk the list.
  while (bytes_ > kFilterCacheBytes || entries_.size() > 256) {
    bytes_ -= entries_.back().passages->kept.size_bytes();
    entries_.pop_back();
  }
}

void FilterCache::Clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
  bytes_ = 0;
}

bool HasWal(FileSystem& fs, const BankLayout& layout) {
  const auto file = fs.Open(layout.catalog() + "-wal", OpenMode::kRead);
  if (!file.ok()) return false;
  const auto size = (*file)->Size();
  return !size.ok() || *size > 0;
}

Result<Catalog> BankCore::OpenAnotherCatalog() const {
  const bool immutable = read_only && !HasWal(fs, layout);
  return Catalog::Open(layout.catalog(),
                       immutable ? Catalog::Access::kReadImmutable : Catalog::Access::kRead,
                       fs.sqlite_vfs(), cipher.get());
}

void BankCore::AddSnapshot(int64_t epoch) {
  const std::lock_guard lock(epoch_mutex_);
  ++snapshots_[epoch];
}

void BankCore::RemoveSnapshot(int64_t epoch) {
  const std::lock_guard lock(epoch_mutex_);
  if (--snapshots_[epoch] == 0) snapshots_.erase(epoch);
  ConfirmEpochIfFree();
}

void BankCore::NoteEpoch(int64_t epoch) {
  {
    const std::lock_guard lock(epoch_mutex_);
    if (epoch <= epoch_) return ConfirmEpochIfFree();
  }
  ClearCaches();
  {
    // Also waits for a snapshot that is being made from the state before: it is counted after this.
    const std::lock_guard lock(catalog_mutex);
    sqlite3_db_release_memory(catalog->db().handle());
  }
  const std::lock_guard lock(epoch_mutex_);
  epoch_ = std::max(epoch_, epoch);
  ConfirmEpochIfFree();
}

void BankCore::ClearCaches() {
  files.Clear();
  shards.Clear();
  segments.Clear();
  contents.Clear();
  filters.Clear();
  if (cipher != nullptr) cipher->Forget();
}

void BankCore::ConfirmEpochIfFree() {
  const bool is_free = snapshots_.empty() || snapshots_.begin()->first >= epoch_;
  if (!is_free || confirmed_epoch_ == epoch_ || !reader_record.held()) return;
  ClearCaches();  // of what older snapshots read since
  // Failing, it is tried again when the next snapshot begins or ends; until then erasing waits.
  if (reader_record.ConfirmEpoch(epoch_).ok()) confirmed_epoch_ = epoch_;
}

void BankCore::SetDropLatest(std::function<void()> drop) {
  const std::lock_guard lock(drop_mutex_);
  drop_latest_ = std::move(drop);
}

void BankCore::DropLatest() {
  const std::lock_guard lock(drop_mutex_);
  if (drop_latest_) drop_latest_();
}

Result<std::shared_ptr<const DocumentContent>> BankCore::ReadContent(const VersionRow& version) {
  const VersionId id = version.info.version;
  if (!version.info.text_kept) {
    return FailedPrecondition("the text of " + version.info.key + ", version " +
                              std::to_string(id.value) +
                              ", is not kept any more: the bank's retention has dropped it, or a "
                              "repair");
  }
  if (auto cached = contents.Find(id)) return cached;
  MSA_ASSIGN_OR_RETURN(const auto file, files.Open(FileKind::kPack, version.frame.file));
  auto read = ReadFrame(*file, version.frame, PassageId{version.first_passage});
  if (!read.ok()) {
    return read.status().WithContext(layout.File(FileKind::kPack, version.frame.file));
  }
  auto content = std::make_shared<const DocumentContent>(std::move(read).value());
  if (static_cast<int64_t>(content->passages.size()) != version.info.num_passages ||
      static_cast<int64_t>(content->text.size()) != version.info.text_bytes) {
    return DataLoss("version " + std::to_string(id.value) +
                    ": its frame and the catalog differ in passages or text");
  }
  contents.Insert(id, content);
  return std::shared_ptr<const DocumentContent>(content);
}

}  // namespace msa
