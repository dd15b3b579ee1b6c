// The part of BankSnapshot that reads latents.
#include <algorithm>

#include "msa/bank/latent_catalog.h"
#include "msa/bank/latent_reader.h"
#include "msa/bank/migration.h"
#include "msa/bank/snapshot.h"
#include "msa/base/check.h"

namespace msa {
namespace {

constexpr int kAttempts = 5;

// Memory for keys, 64-byte aligned.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes)
      : data_(static_cast<std::byte*>(::operator new(
            static_cast<size_t>(std::max<int64_t>(bytes, 1)), std::align_val_t{64}))) {}
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;
  ~AlignedBytes() { ::operator delete(data_, std::align_val_t{64}); }
  std::byte* data() { return data_; }

 private:
  std::byte* data_;
};

struct CopiedKeys {
  CopiedKeys(int64_t key_bytes, int64_t scale_bytes) : keys(key_bytes), scales(scale_bytes) {}
  AlignedBytes keys;
  AlignedBytes scales;
};

// Gathers the visible passages of the places in one file into one run.
class KeyRunBuilder {
 public:
  KeyRunBuilder(const LatentLayout& layout, const PassageSet& visible)
      : layout_(layout), sizes_(layout), plain_sizes_(Unsealed(layout)), visible_(visible) {}

  // `first_passage_of_version` turns a place's indices into ids.
  void Add(const LatentPlace& place, int64_t first_passage_of_version) {
    int64_t row = 0;
    for (int64_t i = 0; i < place.num_passages(); ++i) {
      const int64_t chunks = place.chunks[static_cast<size_t>(i)];
      const int64_t passage = first_passage_of_version + place.first_passage + i;
      if (visible_.Contains(passage)) {
        run_.passages.push_back(PassageId{passage});
        run_.chunk_begin.push_back(num_rows_);
        if (pieces_.empty() || pieces_.back().place != &place ||
            pieces_.back().row + pieces_.back().count != row) {
          pieces_.push_back({&place, row, 0, i, 0});
        }
        pieces_.back().count += chunks;
        ++pieces_.back().num_passages;
        num_rows_ += chunks;
      }
      row += chunks;
    }
  }

  bool empty() const { return run_.passages.empty(); }

  // A run straight into the mapping where all its rows lie one after another, else a copy.
  Result<KeyRun> FromSegment(std::shared_ptr<const Segment> segment,
                             std::vector<std::shared_ptr<const void>>* owners) {
    MSA_RETURN_IF_ERROR(CheckRows(segment->num_rows()));
    run_.chunk_begin.push_back(num_rows_);
    const int64_t first = pieces_.front().place->position + pieces_.front().row;
    int64_t next = first;
    bool contiguous = true;
    for (const Piece& piece : pieces_) {
      contiguous = contiguous && piece.place->position + piece.row == next;
      next += piece.count;
    }
    if (contiguous && !layout_.is_sealed) {
      MSA_ASSIGN_OR_RETURN(const LatentRows rows, segment->ReadRows(first, num_rows_, false));
      run_.keys = rows.keys.data();
      SetScales(rows.key_scales.data());
      owners->push_back(std::move(segment));
      return std::move(run_);
    }
    return Copy(
        [&](const Piece& piece) {
          return segment->ReadRows(piece.place->position + piece.row, piece.count, false);
        },
        owners);
  }

  Result<KeyRun> FromTail(const File& file, std::vector<std::shared_ptr<const void>>* owners) {
    MSA_ASSIGN_OR_RETURN(const int64_t file_bytes, file.Size());
    MSA_RETURN_IF_ERROR(CheckRows(file_bytes / std::max<int64_t>(sizes_.total(), 1)));
    run_.chunk_begin.push_back(num_rows_);
    TailBlock block;
    const LatentPlace* loaded = nullptr;
    return Copy(
        [&](const Piece& piece) -> Result<LatentRows> {
          if (loaded != piece.place) {
            MSA_ASSIGN_OR_RETURN(block, TailBlock::Read(file, sizes_, *piece.place));
            loaded = piece.place;
          }
          return SliceRows(block.rows(), sizes_, piece.row, piece.count);
        },
        owners);
  }

 private:
  // Consecutive rows of one place.
  struct Piece {
    const LatentPlace* place;
    int64_t row;
    int64_t count;
    int64_t first_passage;  // index in the place
    int64_t num_passages;
  };

  // Before memory is taken for them: a file has the rows that its places name, once.
  Status CheckRows(int64_t rows_of_file) const {
    if (num_rows_ <= rows_of_file) return OkStatus();
    return DataLoss("catalog: " + std::to_string(num_rows_) +
                    " latents in a file that has room for " + std::to_string(rows_of_file));
  }

  void SetScales(const void* scales) {
    run_.scales = plain_sizes_.key_scale > 0 ? static_cast<const float*>(scales) : nullptr;
  }

  template <class ReadPiece>
  Result<KeyRun> Copy(ReadPiece read, std::vector<std::shared_ptr<const void>>* owners) {
    auto copy = std::make_shared<CopiedKeys>(num_rows_ * plain_sizes_.key,
                                             num_rows_ * plain_sizes_.key_scale);
    std::byte* keys = copy->keys.data();
    std::byte* scales = copy->scales.data();
    for (const Piece& piece : pieces_) {
      MSA_ASSIGN_OR_RETURN(LatentRows rows, read(piece));
      LatentBlock opened;
      if (layout_.is_sealed) {
        MSA_ASSIGN_OR_RETURN(opened, OpenRows(*piece.place, layout_, piece.first_passage,
                                              piece.num_passages, rows, false));
        rows = {opened.keys, std::as_bytes(std::span(opened.key_scales)), {}, {}};
      }
      keys = std::copy(rows.keys.begin(), rows.keys.end(), keys);
      scales = std::copy(rows.key_scales.begin(), rows.key_scales.end(), scales);
    }
    run_.keys = copy->keys.data();
    SetScales(copy->scales.data());
    owners->push_back(std::move(copy));
    return std::move(run_);
  }

  const LatentLayout layout_;
  const LatentRowSizes sizes_;  // of stored rows
  const LatentRowSizes plain_sizes_;
  const PassageSet& visible_;
  KeyRun run_;
  std::vector<Piece> pieces_;
  int64_t num_rows_ = 0;
};

}  // namespace

Result<EncodingInfo> BankSnapshot::RequireEncoding(EncodingId encoding) const {
  MSA_ASSIGN_OR_RETURN(auto info, FindEncoding(*core_->catalog, encoding));
  if (!info) return NotFound("the bank has no encoding " + std::to_string(encoding.value));
  return *std::move(info);
}

Result<std::vector<EncodingStats>> BankSnapshot::CountEncoded(const Visible& all,
                                                              const PassageSet& passages) const {
  MSA_ASSIGN_OR_RETURN(auto infos, ReadEncodings(*core_->catalog));
  MSA_ASSIGN_OR_RETURN(const EncodingId pending, ReadPendingMigration(*core_->catalog));
  std::vector<EncodingStats> stats;
  for (EncodingInfo& info : infos) {
    MSA_ASSIGN_OR_RETURN(const auto places, ReadPlaces(*core_->catalog, info.id));
    EncodingStats& counted = stats.emplace_back();
    counted.info = std::move(info);
    counted.is_pending = counted.info.id == pending;
    for (const LatentPlace& place : places) {
      const VersionSpan* version = all.Find(place.version);
      // A filter sees all passages of a version or none.
      if (version == nullptr || !passages.Contains(version->first_passage)) continue;
      counted.encoded_passages += place.num_passages();
      counted.latents += place.num_chunks;
    }
  }
  std::ranges::stable_partition(stats, &EncodingStats::is_pending);
  return stats;
}

Result<std::vector<EncodingStats>> BankSnapshot::Encodings(const LabelFilter& filter) const {
  constexpr size_t kFiltersKept = 64;
  const std::lock_guard counts_lock(counts_mutex_);
  MSA_ASSIGN_OR_RETURN(const auto all, All());
  MSA_ASSIGN_OR_RETURN(const auto passages, MatchingPassages(filter));
  const std::lock_guard lock(core_->catalog_mutex);
  MSA_ASSIGN_OR_RETURN(const CatalogState now, core_->catalog->ReadState());
  const auto known = counts_.find(filter);
  if (known != counts_.end() && known->second.commit_number == now.head.commit_number) {
    return known->second.stats;
  }
  MSA_ASSIGN_OR_RETURN(auto stats, CountEncoded(*all, passages->kept));
  if (counts_.size() == kFiltersKept) counts_.clear();
  counts_.insert_or_assign(filter, CountedEncodings{now.head.commit_number, stats});
  return stats;
}

Result<std::vector<Snapshot::Unencoded>> BankSnapshot::FindUnencoded(EncodingId encoding) const {
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  std::vector<LatentPlace> places;
  {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_RETURN_IF_ERROR(RequireEncoding(encoding).status());
    MSA_ASSIGN_OR_RETURN(places, ReadPlaces(*core_->catalog, encoding));
  }
  std::vector<Unencoded> missing;
  auto place = places.begin();
  for (const VersionSpan& version : visible->versions) {
    if (!version.text_kept) continue;
    int64_t next = 0;  // first passage not yet accounted for
    const auto report = [&](int64_t end) {
      end = std::min(end, version.num_passages);
      if (next >= end) return;
      const double part =
          static_cast<double>(end - next) / static_cast<double>(version.num_passages);
      missing.push_back({VersionId{version.version}, next, end - next,
                         static_cast<int64_t>(static_cast<double>(version.num_tokens) * part)});
    };
    while (place != places.end() && place->version < version.version) ++place;
    for (; place != places.end() && place->version == version.version; ++place) {
      report(place->first_passage);
      next = place->first_passage + place->num_passages();
    }
    report(version.num_passages);
  }
  return missing;
}

// One run a file, in the order of their first passages.
Result<BankSnapshot::LoadedKeys> BankSnapshot::LoadKeys(EncodingId encoding) const {
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  EncodingInfo info;
  std::vector<LatentPlace> places;
  std::vector<Catalog::FileRow> files;
  {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_ASSIGN_OR_RETURN(info, RequireEncoding(encoding));
    MSA_ASSIGN_OR_RETURN(places, ReadPlaces(*core_->catalog, encoding));
    MSA_ASSIGN_OR_RETURN(files, core_->catalog->Files());
  }
  core_->segments.Prune(files);
  std::vector<std::pair<FileId, KeyRunBuilder>> builders;
  for (const LatentPlace& place : places) {
    const VersionSpan* version = visible->Find(place.version);
    if (version == nullptr) continue;
    auto builder = std::ranges::find(builders, place.file, &decltype(builders)::value_type::first);
    if (builder == builders.end()) {
      builders.emplace_back(place.file, KeyRunBuilder(info.layout, visible->passages.kept));
      builder = builders.end() - 1;
    }
    builder->second.Add(place, version->first_passage);
  }
  LoadedKeys loaded;
  for (auto& [id, builder] : builders) {
    if (builder.empty()) continue;
    const auto file = std::ranges::find(files, id, &Catalog::FileRow::id);
    // Listed in another transaction than the places: the tail may have been sealed in between.
    if (file == files.end()) return NotFound("file " + std::to_string(id.value));
    if (file->kind == FileKind::kSegment) {
      MSA_ASSIGN_OR_RETURN(auto segment, core_->segments.Open(*file, info.layout));
      MSA_ASSIGN_OR_RETURN(KeyRun run, builder.FromSegment(segment, &loaded.owners));
      loaded.runs.push_back(std::move(run));
    } else {
      MSA_ASSIGN_OR_RETURN(const auto tail, core_->files.Open(FileKind::kTail, id));
      auto run = builder.FromTail(*tail, &loaded.owners);
      if (!run.ok()) return run.status().WithContext(core_->layout.File(FileKind::kTail, id));
      loaded.runs.push_back(*std::move(run));
    }
  }
  return loaded;
}

Result<std::span<const KeyRun>> BankSnapshot::RoutingKeys(EncodingId encoding) const {
  return UnlessErased<std::span<const KeyRun>>([&] { return KeepKeys(encoding); });
}

Result<std::span<const KeyRun>> BankSnapshot::KeepKeys(EncodingId encoding) const {
  const std::lock_guard lock(keys_mutex_);
  const auto found = keys_.find(encoding);
  if (found != keys_.end()) return std::span<const KeyRun>(found->second.runs);
  for (int attempt = 1;; ++attempt) {
    auto loaded = LoadKeys(encoding);
    if (loaded.ok()) {
      return std::span<const KeyRun>(
          keys_.emplace(encoding, *std::move(loaded)).first->second.runs);
    }
    // A tail that was sealed meanwhile is gone; its rows are found again in the segment.
    if (loaded.status().code() != StatusCode::kNotFound || attempt == kAttempts) {
      return loaded.status();
    }
  }
}

Result<LatentBlock> BankSnapshot::ReadPlacedLatents(EncodingId encoding, VersionId version,
                                                    int64_t index, int64_t count) const {
  EncodingInfo info;
  std::optional<LatentPlace> place;
  std::vector<Catalog::FileRow> files;
  {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_ASSIGN_OR_RETURN(info, RequireEncoding(encoding));
    MSA_ASSIGN_OR_RETURN(place, FindPlace(*core_->catalog, encoding, version, index));
    if (!place) return NotFound("the passage has no latents of this encoding yet");
    MSA_ASSIGN_OR_RETURN(files, core_->catalog->Files(place->file));
  }
  if (files.empty()) return NotFound("file " + std::to_string(place->file.value));
  const int64_t first = index - place->first_passage;
  return ReadPassageLatents(*core_, info.layout, *place, files.front(), first,
                            std::min(count, place->num_passages() - first));
}

Result<std::vector<int64_t>> BankSnapshot::CountLatents(EncodingId encoding,
                                                        VersionId version) const {
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  const VersionSpan* span = visible->Find(version.value);
  if (span == nullptr) {
    return NotFound("revision " + std::to_string(revision().value) + " has no document version " +
                    std::to_string(version.value));
  }
  std::vector<LatentPlace> places;
  {
    const std::lock_guard lock(core_->catalog_mutex);
    MSA_RETURN_IF_ERROR(RequireEncoding(encoding).status());
    MSA_ASSIGN_OR_RETURN(places, ReadPlacesOf(*core_->catalog, encoding, version));
  }
  std::vector<int64_t> counts(static_cast<size_t>(span->num_passages), -1);
  for (const LatentPlace& place : places) {
    if (place.num_passages() > span->num_passages ||
        place.first_passage > span->num_passages - place.num_passages()) {
      return DataLoss("catalog: version " + std::to_string(version.value) +
                      " has latents of passages that it does not have");
    }
    std::ranges::copy(place.chunks, counts.begin() + place.first_passage);
  }
  return counts;
}

Result<LatentBlock> BankSnapshot::ReadLatentRun(EncodingId encoding, PassageId passage,
                                                int64_t count) const {
  MSA_CHECK(count >= 1);
  return UnlessErased<LatentBlock>([&] { return FindLatents(encoding, passage, count); });
}

Result<LatentBlock> BankSnapshot::FindLatents(EncodingId encoding, PassageId passage,
                                              int64_t count) const {
  MSA_ASSIGN_OR_RETURN(const auto visible, All());
  const VersionSpan* version = visible->FindByPassage(passage);
  if (version == nullptr) {
    return NotFound("revision " + std::to_string(revision().value) + " has no passage " +
                    std::to_string(passage.value));
  }
  for (int attempt = 1;; ++attempt) {
    auto latents = ReadPlacedLatents(encoding, VersionId{version->version},
                                     passage.value - version->first_passage, count);
    // As in RoutingKeys; a passage without latents stays without in the next attempt.
    if (latents.ok() || latents.status().code() != StatusCode::kNotFound || attempt == kAttempts) {
      return latents;
    }
  }
}

}  // namespace msa
