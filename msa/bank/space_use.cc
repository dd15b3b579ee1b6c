#include "msa/bank/space_use.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "msa/bank/latent_catalog.h"
#include "msa/bank/layout.h"

namespace msa {
namespace {

// The files of some kinds, with nothing known of their bytes yet.
class FileUses {
 public:
  static Result<FileUses> Create(Catalog& catalog, std::span<const FileKind> kinds) {
    FileUses uses;
    MSA_ASSIGN_OR_RETURN(const auto rows, catalog.Files());
    for (const Catalog::FileRow& row : rows) {
      if (std::ranges::find(kinds, row.kind) == kinds.end()) continue;
      uses.files_.emplace(row.id, File{{row.id, row.kind, row.encoding, 0, 0, 0}, row.length});
    }
    return uses;
  }

  struct File {
    FileUse use;
    int64_t length;

    // Counts `bytes` of it. kDataLoss: rows claim more than it has.
    Status Add(int64_t bytes, bool is_expired) {
      if (bytes < 0 || bytes > length - use.live - use.expired) {
        return DataLoss("catalog: more bytes of file " + std::to_string(use.id.value) +
                        " are in use than it has");
      }
      (is_expired ? use.expired : use.live) += bytes;
      return OkStatus();
    }
  };

  // Null if there is no such file, which an audit would find.
  File* Find(FileId id) {
    const auto found = files_.find(id);
    return found == files_.end() ? nullptr : &found->second;
  }

  // Every row of a segment belongs to a place; of the others what nothing names is dead too.
  std::vector<FileUse> Finish() && {
    std::vector<FileUse> uses;
    for (const auto& [id, file] : files_) {
      FileUse& use = uses.emplace_back(file.use);
      use.dead =
          use.kind == FileKind::kSegment ? use.expired : file.length - kFileHeaderBytes - use.live;
    }
    return uses;
  }

 private:
  std::map<FileId, File> files_;
};

double DeadShare(const FileUse& file) {
  return static_cast<double>(file.dead) / static_cast<double>(std::max<int64_t>(file.live, 1));
}

Result<int64_t> ReadPragma(Catalog& catalog, const char* name) {
  MSA_ASSIGN_OR_RETURN(Statement pragma, catalog.db().Prepare(std::string("PRAGMA ") + name));
  MSA_ASSIGN_OR_RETURN(const bool row, pragma.Step());
  return row ? pragma.Int(0) : 0;
}

}  // namespace

std::vector<size_t> ChooseFiles(std::span<const FileUse> files, const CompactionPolicy& policy) {
  std::vector<size_t> order(files.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return DeadShare(files[a]) > DeadShare(files[b]); });
  int64_t live = 0;
  int64_t dead = 0;
  for (const FileUse& file : files) {
    live += file.live;
    dead += file.dead;
  }
  std::vector<size_t> chosen;
  for (const size_t i : order) {
    const FileUse& file = files[i];
    const bool pays = file.dead > 0 && dead >= policy.least_bytes &&
                      static_cast<double>(dead) > policy.dead_share * static_cast<double>(live);
    if (!pays && !(policy.drops_all && file.expired > 0)) continue;
    chosen.push_back(i);
    dead -= file.dead;
  }
  return chosen;
}

Result<Expired> Expired::Find(Catalog& catalog, const BankId& bank, int64_t unix_ms) {
  Expired expired;
  MSA_ASSIGN_OR_RETURN(expired.retention_, ReadRetention(catalog));
  const Retention& retention = expired.retention_;
  MSA_ASSIGN_OR_RETURN(const CatalogState state, catalog.ReadState());
  MSA_ASSIGN_OR_RETURN(
      Statement ends,
      catalog.db().Prepare("SELECT ifnull(min(id), 0), ifnull(max(id), -1), count(*)"
                           " FROM versions"));
  MSA_RETURN_IF_ERROR(ends.Step().status());
  // The state does not count those that are being added yet.
  if (ends.Int(0) < 0 || ends.Int(1) >= state.next_version + ends.Int(2)) {
    return DataLoss("catalog: a version has a number that no writer gave");
  }
  expired.newest_ = ends.Int(1);
  ends.Reset();
  const auto since = [&](int64_t days) { return unix_ms - days * kDayMilliseconds; };
  if (retention.text_days != Retention::kForever) {
    MSA_ASSIGN_OR_RETURN(expired.texts_kept_,
                         VersionsSeen(catalog, bank, since(retention.text_days)));
  }
  MSA_ASSIGN_OR_RETURN(expired.latents_kept_,
                       VersionsSeen(catalog, bank, since(retention.latents_days)));
  MSA_ASSIGN_OR_RETURN(
      Statement rows, catalog.db().Prepare("SELECT id FROM versions WHERE flags & ?1 ORDER BY id"));
  rows.Bind(kTextNotKept);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return expired;
    expired.without_text_.push_back(rows.Int(0));
  }
}

Result<std::vector<FileUse>> MeasurePacks(Catalog& catalog, const Expired& expired) {
  static constexpr FileKind kKinds[] = {FileKind::kPack};
  MSA_ASSIGN_OR_RETURN(FileUses uses, FileUses::Create(catalog, kKinds));
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       catalog.db().Prepare("SELECT id, file, length FROM versions"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return std::move(uses).Finish();
    FileUses::File* file = uses.Find(FileId{rows.Int(1)});
    if (file == nullptr) continue;
    MSA_RETURN_IF_ERROR(file->Add(rows.Int(2), expired.text(rows.Int(0))));
  }
}

Result<std::vector<FileUse>> MeasureLatents(Catalog& catalog, const Expired& expired) {
  static constexpr FileKind kKinds[] = {FileKind::kTail, FileKind::kSegment};
  MSA_ASSIGN_OR_RETURN(FileUses uses, FileUses::Create(catalog, kKinds));
  MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog));
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT version, file, num_chunks FROM places WHERE encoding = ?1"));
  for (const EncodingInfo& encoding : encodings) {
    const LatentRowSizes sizes(encoding.layout);
    rows.Bind(encoding.id.value);
    while (true) {
      MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) break;
      FileUses::File* file = uses.Find(FileId{rows.Int(1)});
      if (file == nullptr) continue;
      const int64_t chunks = rows.Int(2);
      if (chunks < 0 || chunks > kMaxChunks) {
        return DataLoss("catalog: latents of " + std::to_string(chunks) + " chunks");
      }
      const int64_t bytes = file->use.kind == FileKind::kTail ? TailBlockBytes(sizes, chunks)
                                                              : chunks * sizes.total();
      MSA_RETURN_IF_ERROR(file->Add(bytes, expired.latents(rows.Int(0))));
    }
  }
  return std::move(uses).Finish();
}

Result<std::vector<FileUse>> MeasureShards(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const auto shards, catalog.Shards());
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       catalog.db().Prepare("SELECT first_passage, num_passages FROM versions"
                                            " WHERE NOT flags & ?1 ORDER BY id"));
  rows.Bind(kTextNotKept);
  // Passages that are kept, by shard: both ascend.
  std::vector<int64_t> kept(shards.size());
  size_t from = 0;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) break;
    const int64_t first = rows.Int(0);
    int64_t end = 0;
    if (first < 0 || rows.Int(1) < 0 || __builtin_add_overflow(first, rows.Int(1), &end)) {
      return DataLoss("catalog: a version has passages that no writer gave");
    }
    while (from < shards.size() && shards[from].end_passage <= first) ++from;
    for (size_t i = from; i < shards.size() && shards[i].first_passage < end; ++i) {
      const Catalog::ShardRow& shard = shards[i];
      const int64_t both = std::min(end, shard.end_passage) - std::max(first, shard.first_passage);
      kept[i] = std::min(kept[i] + both, shard.passages);
    }
  }
  std::vector<FileUse> uses;
  for (size_t i = 0; i < shards.size(); ++i) {
    const Catalog::ShardRow& shard = shards[i];
    const int64_t passages = std::max<int64_t>(shard.passages, 1);
    FileUse& use = uses.emplace_back(FileUse{shard.file, FileKind::kLexical, {}, 0, 0, 0});
    use.live = static_cast<int64_t>(static_cast<__int128>(shard.length_bytes) * kept[i] / passages);
    use.expired = use.dead = shard.passages > kept[i] ? shard.length_bytes - use.live : 0;
  }
  return uses;
}

Result<CatalogUse> MeasureCatalog(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const int64_t page, ReadPragma(catalog, "page_size"));
  MSA_ASSIGN_OR_RETURN(const int64_t pages, ReadPragma(catalog, "page_count"));
  MSA_ASSIGN_OR_RETURN(const int64_t free_pages, ReadPragma(catalog, "freelist_count"));
  return CatalogUse{pages * page, free_pages * page};
}

bool IsWorthVacuum(const CatalogUse& use, const CompactionPolicy& policy) {
  const auto used = static_cast<double>(use.bytes - use.free_bytes);
  return use.free_bytes >= policy.least_bytes &&
         static_cast<double>(use.free_bytes) > policy.dead_share * used;
}

}  // namespace msa
