#include "msa/bank/snapshot.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "msa/bank/history.h"
#include "msa/bank/lexical_search.h"
#include "msa/bank/retention.h"

namespace msa {
namespace {

constexpr int64_t kCandidatesListed = 6;
constexpr size_t kDocumentsPerBatch = 256;
constexpr int kAttempts = 5;

std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<std::shared_ptr<const BankSnapshot>> BankSnapshot::Create(std::shared_ptr<BankCore> core,
                                                                 RevisionId at) {
  std::shared_ptr<BankSnapshot> snapshot(new BankSnapshot(std::move(core)));
  Catalog& catalog = *snapshot->core_->catalog;
  MSA_RETURN_IF_ERROR(catalog.db().Execute("BEGIN"));
  const Status read = snapshot->ReadPaths(at);
  MSA_RETURN_IF_ERROR(catalog.db().Execute("COMMIT"));
  MSA_RETURN_IF_ERROR(read);
  return std::shared_ptr<const BankSnapshot>(snapshot);
}

BankSnapshot::~BankSnapshot() {
  if (counted_) core_->RemoveSnapshot(state_.head.erase_epoch);
}

Status BankSnapshot::CheckErasures() const {
  int64_t epoch = 0;
  {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_ASSIGN_OR_RETURN(const CatalogState now, core_->catalog->ReadState());
    epoch = now.head.erase_epoch;
  }
  if (epoch == state_.head.erase_epoch) return OkStatus();
  core_->NoteEpoch(epoch);
  return Unavailable(core_->layout.root + ": documents were erased while this was read; try again");
}

Status BankSnapshot::ReadPaths(RevisionId at) {
  Catalog& catalog = *core_->catalog;
  MSA_ASSIGN_OR_RETURN(state_, catalog.ReadState());
  core_->AddSnapshot(state_.head.erase_epoch);
  counted_ = true;
  MSA_ASSIGN_OR_RETURN(today_, catalog.ReadPath(state_.head.revision));
  if (!at.valid() || at.value == state_.head.revision) {
    path_ = today_;
    return OkStatus();
  }
  MSA_RETURN_IF_ERROR(CheckRevision(state_, at.value));
  MSA_ASSIGN_OR_RETURN(path_, catalog.ReadPath(at.value));
  return OkStatus();
}

const VersionSpan* BankSnapshot::Visible::Find(int64_t version) const {
  const auto found = std::ranges::lower_bound(versions, version, {}, &VersionSpan::version);
  return found != versions.end() && found->version == version ? &*found : nullptr;
}

const VersionSpan* BankSnapshot::Visible::FindByPassage(PassageId passage) const {
  const auto after =
      std::ranges::upper_bound(versions, passage.value, {}, &VersionSpan::first_passage);
  // Versions without passages share their first passage with the next one, which comes last.
  if (after == versions.begin()) return nullptr;
  const VersionSpan& span = *std::prev(after);
  return passage.value < span.first_passage + span.num_passages ? &span : nullptr;
}

Result<std::shared_ptr<const BankSnapshot::Visible>> BankSnapshot::Matching(
    const LabelFilter& filter) const {
  auto visible = std::make_shared<Visible>();
  {
    const std::lock_guard lock(core_->catalog_mutex);
    core_->catalog->SetPath(&path_);
    core_->catalog->SetToday(path_.last() == today_.last() ? nullptr : &today_);
    MSA_ASSIGN_OR_RETURN(visible->versions,
                         core_->catalog->VisibleVersions(filter, core_->lookup_secret()));
  }
  int64_t end = 0;
  for (const VersionSpan& span : visible->versions) {
    // Ids ascend with versions.
    if (span.first_passage < end || span.num_passages > state_.next_passage - span.first_passage) {
      return DataLoss("catalog: version " + std::to_string(span.version) +
                      " has passages outside of 0 to " + std::to_string(state_.next_passage));
    }
    end = span.first_passage + span.num_passages;
    if (span.text_kept) {
      visible->passages.kept.AddRange(span.first_passage, span.num_passages);
    } else {
      visible->passages.num_unkept += span.num_passages;
    }
  }
  return std::shared_ptr<const Visible>(visible);
}

Result<std::shared_ptr<const BankSnapshot::Visible>> BankSnapshot::All() const {
  const std::lock_guard lock(mutex_);
  if (all_ == nullptr) {
    MSA_ASSIGN_OR_RETURN(all_, Matching({}));
  }
  return all_;
}

Result<BankStats> BankSnapshot::Stats() const {
  BankStats stats;
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  const std::lock_guard lock(core_->catalog_mutex);
  Catalog& catalog = *core_->catalog;
  MSA_ASSIGN_OR_RETURN(const RevisionTotals totals, catalog.ReadTotals(revision().value));
  stats.documents = totals.documents;
  stats.passages = totals.passages;
  stats.unkept_passages = visible->passages.num_unkept;
  stats.tokens = totals.tokens;
  stats.text_bytes = totals.text_bytes;
  stats.revisions = state_.head.revision;
  stats.disk_bytes = {{"catalog", 0}, {"segments", 0}, {"packs", 0}, {"lexical", 0}};
  MSA_ASSIGN_OR_RETURN(Statement kinds,
                       catalog.db().Prepare("SELECT kind, sum(length) FROM files GROUP BY kind"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool kind, kinds.Step());
    if (!kind) break;
    switch (static_cast<FileKind>(kinds.Int(0))) {
      case FileKind::kPack: stats.disk_bytes["packs"] += kinds.Int(1); break;
      case FileKind::kTail:
      case FileKind::kSegment: stats.disk_bytes["segments"] += kinds.Int(1); break;
      case FileKind::kLexical: stats.disk_bytes["lexical"] += kinds.Int(1); break;
    }
  }
  for (const char* suffix : {"", "-wal"}) {
    // By name: closing a file descriptor of its own would drop every lock that SQLite holds on the
    // file in this process (fcntl(2)), and the next connection to close elsewhere would take its
    // WAL for nobody's.
    std::error_code no_wal;  // after a clean close
    const auto bytes = std::filesystem::file_size(core_->layout.catalog() + suffix, no_wal);
    if (!no_wal) stats.disk_bytes["catalog"] += static_cast<int64_t>(bytes);
  }
  return stats;
}

Result<Retention> BankSnapshot::GetRetention() const {
  const std::lock_guard lock(core_->catalog_mutex);
  return ReadRetention(*core_->catalog);
}

Status BankSnapshot::ForEachDocument(const LabelFilter& filter,
                                     FunctionRef<bool(const DocumentInfo&)> on_document) const {
  std::shared_ptr<const Visible> matching;
  if (!filter.empty()) {
    MSA_ASSIGN_OR_RETURN(matching, Matching(filter));
  }
  // In batches, so that neither the catalog's mutex nor a transaction is held in the callback, and
  // the first document of a large bank does not wait for the last.
  VersionId last{0};
  for (size_t begin = 0;; begin += kDocumentsPerBatch) {
    std::vector<VersionRow> batch;
    {
      const std::lock_guard lock(core_->catalog_mutex);
      if (matching == nullptr) {
        core_->catalog->SetPath(&path_);
        MSA_ASSIGN_OR_RETURN(batch, core_->catalog->VisibleRowsAfter(last, kDocumentsPerBatch));
      } else {
        const auto rest =
            std::span(matching->versions).subspan(std::min(begin, matching->versions.size()));
        if (rest.empty()) return OkStatus();
        MSA_ASSIGN_OR_RETURN(batch, core_->catalog->FindVersions(
                                        rest.first(std::min(rest.size(), kDocumentsPerBatch))));
      }
    }
    MSA_RETURN_IF_ERROR(CheckErasures());
    if (matching == nullptr && batch.empty()) return OkStatus();
    for (const VersionRow& row : batch) {
      last = row.info.version;
      if (!on_document(row.info)) return OkStatus();
    }
  }
}

Result<DocumentInfo> BankSnapshot::FindDocument(std::string_view name) const {
  const std::lock_guard lock(core_->catalog_mutex);
  Catalog& catalog = *core_->catalog;
  catalog.SetPath(&path_);
  if (const auto number = ParseNumber(name)) {
    MSA_ASSIGN_OR_RETURN(auto version, catalog.FindVisible(DocId{*number}));
    if (version) return version->info;
  }
  MSA_ASSIGN_OR_RETURN(const auto document, catalog.FindDocument(name, core_->lookup_secret()));
  if (document) {
    MSA_ASSIGN_OR_RETURN(auto version, catalog.FindVisible(*document));
    if (version) return version->info;
  }
  if (name.empty()) return InvalidArgument("a document's name must not be empty");
  MSA_ASSIGN_OR_RETURN(const auto found, catalog.FindByPart(name, kCandidatesListed));
  if (found.empty()) {
    return NotFound("no document has the id or key \"" + std::string(name) +
                    "\", or that in its key or title");
  }
  if (found.size() == 1) return found[0].info;
  std::string message(name);
  message += " fits several documents:";
  for (const VersionRow& row : found) {
    message.append("\n  ").append(std::to_string(row.info.id.value));
    message.append("  ").append(row.info.key);
  }
  if (found.size() == kCandidatesListed) message += "\n  …";
  return InvalidArgument(message);
}

Result<VersionRow> BankSnapshot::VisibleVersion(VersionId version) const {
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  if (visible->Find(version.value) != nullptr) {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_ASSIGN_OR_RETURN(auto row, core_->catalog->FindVersion(version));
    if (row) return *std::move(row);
  }
  return NotFound("revision " + std::to_string(revision().value) + " has no document version " +
                  std::to_string(version.value));
}

Result<DocumentInfo> BankSnapshot::GetDocument(VersionId version) const {
  return UnlessErased<DocumentInfo>([&]() -> Result<DocumentInfo> {
    MSA_ASSIGN_OR_RETURN(VersionRow row, VisibleVersion(version));
    return std::move(row.info);
  });
}

Result<DocumentContent> BankSnapshot::ReadContent(VersionId version) const {
  return UnlessErased<DocumentContent>([&]() -> Result<DocumentContent> {
    MSA_ASSIGN_OR_RETURN(const auto content, ReadKept(version));
    return *content;
  });
}

Result<std::shared_ptr<const DocumentContent>> BankSnapshot::ReadKept(VersionId version) const {
  // A compaction may move the frame and remove its pack between the row and the pack; the row is
  // then read again.
  for (int attempt = 1;; ++attempt) {
    MSA_ASSIGN_OR_RETURN(const VersionRow row, VisibleVersion(version));
    auto content = core_->ReadContent(row);
    if (content.status().code() != StatusCode::kNotFound || attempt == kAttempts) return content;
  }
}

Result<Snapshot::PassageAddress> BankSnapshot::FindPassage(PassageId passage) const {
  return UnlessErased<PassageAddress>([&] { return LocatePassage(passage); });
}

Result<Snapshot::PassageAddress> BankSnapshot::LocatePassage(PassageId passage) const {
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  const VersionSpan* version = visible->FindByPassage(passage);
  if (version == nullptr) {
    return NotFound("revision " + std::to_string(revision().value) + " has no passage " +
                    std::to_string(passage.value));
  }
  return PassageAddress{VersionId{version->version}, passage.value - version->first_passage};
}

Result<std::vector<std::shared_ptr<LexicalShard>>> BankSnapshot::OpenShards() const {
  // A merge may remove a shard between listing and opening; the list is then read again.
  for (int attempt = 1;; ++attempt) {
    std::vector<Catalog::ShardRow> rows;
    {
      const std::lock_guard lock(core_->catalog_mutex);
      MSA_ASSIGN_OR_RETURN(rows, core_->catalog->Shards());
    }
    core_->shards.Prune(rows);
    std::vector<std::shared_ptr<LexicalShard>> shards;
    Status status;
    for (const Catalog::ShardRow& row : rows) {
      auto shard = core_->shards.Open(row, core_->cipher.get());
      status = shard.status();
      if (!shard.ok()) break;
      shards.push_back(*std::move(shard));
    }
    if (status.ok()) return shards;
    if (status.code() != StatusCode::kNotFound || attempt == kAttempts) return status;
  }
}

Result<std::vector<LexicalHit>> BankSnapshot::SearchLexical(std::string_view query, int64_t k,
                                                            const LabelFilter& filter) const {
  using Hits = std::vector<LexicalHit>;
  return UnlessErased<Hits>([&]() -> Result<Hits> {
    MSA_ASSIGN_OR_RETURN(const auto visible, MatchingPassages(filter));
    MSA_ASSIGN_OR_RETURN(const auto shards, OpenShards());
    LexicalSearchOptions options;
    options.exact_statistics = !filter.empty();
    return SearchShards(shards, visible->kept, query, k, options);
  });
}

Result<std::shared_ptr<const VisiblePassages>> BankSnapshot::MatchingPassages(
    const LabelFilter& filter) const {
  using Passages = std::shared_ptr<const VisiblePassages>;
  if (filter.empty()) {
    MSA_ASSIGN_OR_RETURN(const auto all, All());
    return Passages(all, &all->passages);
  }
  FilterCache::Key key{commit_number(), revision(), filter};
  if (Passages known = core_->filters.Find(key)) return known;
  MSA_ASSIGN_OR_RETURN(const auto matching, Matching(filter));
  // A copy, so that the cache keeps the bitmap alone.
  auto passages = std::make_shared<const VisiblePassages>(matching->passages);
  core_->filters.Insert(std::move(key), passages);
  return Passages(passages);
}

}  // namespace msa
