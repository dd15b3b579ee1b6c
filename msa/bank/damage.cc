#include "msa/bank/damage.h"

#include <algorithm>

#include "msa/bank/committed_files.h"
#include "msa/bank/contents_check.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/pending_erasure.h"

namespace msa {
namespace {

// Far beyond what a writer makes.
constexpr int64_t kMaxFileBytes = int64_t{1} << 36;

class DamageFinder {
 public:
  DamageFinder(BankCore& core, Catalog& catalog, bool distrusts_places, ProgressMode progress)
      : core_(core),
        catalog_(catalog),
        distrusts_places_(distrusts_places),
        progress_("reading", "bytes", 0, progress) {}

  Result<Damage> Find() {
    MSA_ASSIGN_OR_RETURN(runs_, ReadRuns(catalog_));
    MSA_ASSIGN_OR_RETURN(shards_, catalog_.Shards());
    MSA_ASSIGN_OR_RETURN(const auto files, catalog_.Files());
    MSA_ASSIGN_OR_RETURN(doomed_, ReadDoomedVersions(catalog_));
    int64_t bytes = 0;
    for (const Catalog::FileRow& file : files) {
      MSA_RETURN_IF_ERROR(CheckLength(file));
      bytes += file.length;
    }
    progress_.SetTotal(bytes);
    // Packs first: without its text a version keeps no latents.
    for (const Catalog::FileRow& file : files) {
      if (file.kind != FileKind::kPack) continue;
      MSA_RETURN_IF_ERROR(CheckPack(file));
      progress_.Add(file.length);
    }
    std::ranges::sort(damage_.texts, {}, [](const auto& text) { return text.info.version; });
    for (const Catalog::FileRow& file : files) {
      if (file.kind == FileKind::kPack) continue;
      if (file.kind == FileKind::kTail) MSA_RETURN_IF_ERROR(CheckTail(file));
      if (file.kind == FileKind::kSegment) MSA_RETURN_IF_ERROR(CheckSegment(file));
      if (file.kind == FileKind::kLexical) CheckShard(file);
      progress_.Add(file.length);
    }
    return std::move(damage_);
  }

 private:
  // What is too short is made longer, so that what the row says must be possible.
  Status CheckLength(const Catalog::FileRow& row) const {
    if (row.length >= 0 && row.length <= kMaxFileBytes) return OkStatus();
    return DataLoss("catalog: " + Path(row) + " has a length of " + std::to_string(row.length));
  }

  std::string Path(const Catalog::FileRow& row) const {
    return core_.layout.File(row.kind, row.id);
  }

  // The file, if it is there; its length, header and the bytes between its runs are checked.
  std::unique_ptr<File> OpenRuns(const Catalog::FileRow& row, bool* is_sound) {
    auto file = core_.fs.Open(Path(row), OpenMode::kRead);
    *is_sound = false;
    if (!file.ok()) return nullptr;
    const auto size = (*file)->Size();
    if (!size.ok()) return nullptr;
    *is_sound =
        *size >= row.length && CheckFileHeader(**file, row.kind, core_.identity.id, row.id).ok();
    if (*is_sound) {
      const auto gaps = FindStrayBytes(**file, row.length, RunsOf(runs_, row.id));
      *is_sound = gaps.ok() && gaps->empty();
    }
    return *std::move(file);
  }

  Status CheckPack(const Catalog::FileRow& row) {
    bool is_sound = false;
    const auto file = OpenRuns(row, &is_sound);
    MSA_RETURN_IF_ERROR(catalog_.ForEachInPack(row.id, [&](const VersionRow& version) {
      if (file != nullptr && CheckFrame(*file, version).ok()) return OkStatus();
      // What an erasure overwrites is no damage where the pack is there.
      if (file != nullptr && doomed_.contains(version.info.version.value)) return OkStatus();
      damage_.texts.push_back(version);
      is_sound = false;
      return OkStatus();
    }));
    if (!is_sound) damage_.files.push_back(row);
    return OkStatus();
  }

  // Sorts the places of a file into those to drop and the others.
  Status CheckPlaces(const Catalog::FileRow& row, bool* is_sound,
                     FunctionRef<bool(const LatentPlace&)> is_intact) {
    MSA_ASSIGN_OR_RETURN(const auto places, ReadPlacesInFile(catalog_, row.encoding, row.id));
    for (const LatentPlace& place : places) {
      const bool has_text =
          !std::ranges::binary_search(damage_.texts, VersionId{place.version}, {},
                                      [](const VersionRow& text) { return text.info.version; });
      if (has_text && !distrusts_places_ && is_intact(place)) continue;
      damage_.latents.push_back(place);
      *is_sound = false;
    }
    return OkStatus();
  }

  Status CheckTail(const Catalog::FileRow& row) {
    MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, GetEncoding(catalog_, row.encoding));
    const LatentRowSizes sizes(encoding.layout);
    bool is_sound = false;
    const auto file = OpenRuns(row, &is_sound);
    MSA_RETURN_IF_ERROR(CheckPlaces(row, &is_sound, [&](const LatentPlace& place) {
      if (file == nullptr) return false;
      return doomed_.contains(place.version) || TailBlock::Read(*file, sizes, place).ok();
    }));
    if (!is_sound) damage_.files.push_back(row);
    return OkStatus();
  }

  Status CheckSegment(const Catalog::FileRow& row) {
    MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding, GetEncoding(catalog_, row.encoding));
    const auto segment = Segment::Open(Path(row), encoding.layout, row.length, row.checksum);
    bool is_sound = segment.ok() && (*segment)->ReadRows(0, (*segment)->num_rows(), true).ok();
    MSA_RETURN_IF_ERROR(CheckPlaces(row, &is_sound, [&](const LatentPlace& place) {
      return segment.ok() && (*segment)->ReadRows(place.position, place.num_chunks, true).ok();
    }));
    if (!is_sound) damage_.files.push_back(row);
    return OkStatus();
  }

  void CheckShard(const Catalog::FileRow& row) {
    if (CheckShardFile(Path(row), row).ok()) return;
    damage_.files.push_back(row);
    const auto shard = std::ranges::find(shards_, row.id, &Catalog::ShardRow::file);
    if (shard != shards_.end()) damage_.shards.push_back(*shard);
  }

  BankCore& core_;
  Catalog& catalog_;
  const bool distrusts_places_;
  Progress progress_;
  FileRuns runs_;
  std::vector<Catalog::ShardRow> shards_;
  std::set<int64_t> doomed_;
  Damage damage_;
};

}  // namespace

Result<Damage> FindDamage(BankCore& core, Catalog& catalog, bool distrusts_places,
                          ProgressMode progress) {
  return DamageFinder(core, catalog, distrusts_places, progress).Find();
}

}  // namespace msa
