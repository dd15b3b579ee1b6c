// The part of an audit that reads every byte of packs, tails, segments and shards.
#include <algorithm>
#include <map>
#include <set>

#include "msa/bank/audit.h"
#include "msa/bank/contents_check.h"
#include "msa/bank/latent_catalog.h"
#include "msa/bank/pending_erasure.h"
#include "msa/bank/shard_image.h"

namespace msa {
namespace {

constexpr int64_t kGapBytes = int64_t{1} << 20;

// What erasing left between two runs: nothing but zeros.
Status CheckZero(const File& file, int64_t begin, int64_t end) {
  std::vector<std::byte> bytes;
  while (begin < end) {
    bytes.resize(static_cast<size_t>(std::min(kGapBytes, end - begin)));
    MSA_RETURN_IF_ERROR(file.ReadAt(begin, bytes));
    const auto found = std::ranges::find_if(bytes, [](std::byte b) { return b != std::byte{0}; });
    if (found != bytes.end()) {
      return DataLoss("byte " + std::to_string(begin + (found - bytes.begin())) +
                      " belongs to nothing that the catalog names, and is not zero");
    }
    begin += static_cast<int64_t>(bytes.size());
  }
  return OkStatus();
}

// Walks the runs of a pack or tail in order; what lies between them must be zero.
class RunWalk {
 public:
  RunWalk(const File& file, int64_t length) : file_(file), length_(length) {}

  Status Next(int64_t position, int64_t bytes) {
    if (position < next_ || bytes < 0 || bytes > length_ - position) {
      return DataLoss("the run at byte " + std::to_string(position) + ", length " +
                      std::to_string(bytes) + ", overlaps another or leaves the file");
    }
    MSA_RETURN_IF_ERROR(CheckZero(file_, next_, position));
    next_ = position + bytes;
    return OkStatus();
  }
  Status Finish() const { return CheckZero(file_, next_, length_); }

 private:
  const File& file_;
  const int64_t length_;
  int64_t next_ = kFileHeaderBytes;
};

class ContentVerifier {
 public:
  ContentVerifier(BankCore& core, Catalog& catalog, ProgressMode progress)
      : core_(core), catalog_(catalog), progress_("checking contents", "bytes", 0, progress) {}

  Result<int64_t> Verify() {
    MSA_ASSIGN_OR_RETURN(const auto files, catalog_.Files());
    MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog_));
    for (const EncodingInfo& encoding : encodings) encodings_.emplace(encoding.id, encoding);
    MSA_RETURN_IF_ERROR(CheckReferences());
    MSA_ASSIGN_OR_RETURN(doomed_, ReadDoomedVersions(catalog_));
    int64_t bytes = 0;
    for (const Catalog::FileRow& file : files) {
      if (__builtin_add_overflow(bytes, file.length, &bytes)) {
        return DataLoss("catalog: its files are longer than any disk");
      }
    }
    progress_.SetTotal(bytes);
    for (const Catalog::FileRow& file : files) {
      const Status status = VerifyFile(file);
      if (!status.ok()) return status.WithContext(core_.layout.File(file.kind, file.id));
    }
    MSA_RETURN_IF_ERROR(VerifyShardRanges());
    return bytes;
  }

 private:
  // Rows must not name what is not there.
  Status CheckReferences() {
    MSA_ASSIGN_OR_RETURN(
        Statement counts,
        catalog_.db().Prepare(
            "SELECT (SELECT count(*) FROM versions WHERE (flags & 1) = 0 AND file NOT IN"
            "  (SELECT id FROM files WHERE kind = 1)"
            "  OR (flags & 1) != 0 AND (file, position, length, checksum) != (0, 0, 0, 0)),"
            " (SELECT count(*) FROM places p LEFT JOIN main.versions v ON v.id = p.version"
            "  LEFT JOIN files f ON f.id = p.file AND f.encoding = p.encoding"
            "  WHERE v.id IS NULL OR f.id IS NULL OR p.first_passage < 0"
            "  OR p.first_passage + p.num_passages > v.num_passages),"
            " (SELECT count(*) FROM files WHERE (kind IN (2, 3)) != ifnull(encoding IN"
            "  (SELECT id FROM encodings), 0) OR (kind = 4) != (id IN (SELECT file FROM "
            "shards)))"));
    MSA_RETURN_IF_ERROR(counts.Step().status());
    if (counts.Int(0) != 0) return DataLoss("catalog: versions without a pack");
    if (counts.Int(1) != 0) return DataLoss("catalog: latents of passages that are not there");
    if (counts.Int(2) != 0) return DataLoss("catalog: files that belong to nothing");
    return OkStatus();
  }

  Status VerifyFile(const Catalog::FileRow& row) {
    switch (row.kind) {
      case FileKind::kPack: return VerifyPack(row);  // counts by the frame
      case FileKind::kTail: MSA_RETURN_IF_ERROR(VerifyTail(row)); break;
      case FileKind::kSegment: MSA_RETURN_IF_ERROR(VerifySegment(row)); break;
      case FileKind::kLexical: MSA_RETURN_IF_ERROR(VerifyShard(row)); break;
    }
    progress_.Add(row.length);
    return OkStatus();
  }

  Status VerifyShard(const Catalog::FileRow& row) {
    const std::string path = core_.layout.File(row.kind, row.id);
    MSA_RETURN_IF_ERROR(CheckShardFile(path, row));
    if (core_.cipher == nullptr) return OkStatus();
    const auto image =
        ShardImage::Open(path, row.length, ParseBlocks(row.blocks), core_.cipher.get());
    // Without keys, or replaced since this copy of the bank was made; then the next writer builds
    // it anew.
    if (image.status().code() == StatusCode::kNotFound) return OkStatus();
    MSA_RETURN_IF_ERROR(image.status());
    return (*image)->ReadAll().status();
  }

  Status VerifyPack(const Catalog::FileRow& row) {
    MSA_ASSIGN_OR_RETURN(const auto file,
                         core_.fs.Open(core_.layout.File(row.kind, row.id), OpenMode::kRead));
    MSA_RETURN_IF_ERROR(CheckFileHeader(*file, row.kind, core_.identity.id, row.id));
    RunWalk walk(*file, row.length);
    int64_t frames = 0;
    MSA_RETURN_IF_ERROR(catalog_.ForEachInPack(row.id, [&](const VersionRow& version) -> Status {
      Status status = walk.Next(version.frame.position, version.frame.length);
      const bool is_doomed = doomed_.contains(version.info.version.value);
      if (status.ok() && !is_doomed) {
        status = version.is_readable ? CheckFrame(*file, version)
                                     : ReadFrameBytes(*file, version.frame).status();
      }
      if (!status.ok()) return status.WithContext(Describe(version));
      frames += version.frame.length;
      progress_.Add(version.frame.length);
      return OkStatus();
    }));
    MSA_RETURN_IF_ERROR(walk.Finish());
    progress_.Add(row.length - frames);
    return OkStatus();
  }

  Result<LatentLayout> LayoutOf(const Catalog::FileRow& row) const {
    const auto encoding = encodings_.find(row.encoding);
    if (encoding == encodings_.end()) return DataLoss("it belongs to no encoding");
    return encoding->second.layout;
  }

  // Ascending by where they lie.
  Result<std::vector<LatentPlace>> PlacesIn(const Catalog::FileRow& row) {
    MSA_ASSIGN_OR_RETURN(auto places, ReadPlacesInFile(catalog_, row.encoding, row.id));
    std::ranges::stable_sort(places, {}, &LatentPlace::position);
    return places;
  }

  // In a bank with a cipher: each row is a message of its place. Without its key the checksum has
  // to do.
  Status OpenSealed(const LatentPlace& place, const LatentRows& rows) {
    const LatentLayout& layout = encodings_.at(place.encoding).layout;
    if (!layout.is_sealed || !place.sealer) return OkStatus();
    return OpenRows(place, layout, 0, place.num_passages(), rows, true).status();
  }

  Status VerifyTail(const Catalog::FileRow& row) {
    MSA_ASSIGN_OR_RETURN(const auto file,
                         core_.fs.Open(core_.layout.File(row.kind, row.id), OpenMode::kRead));
    MSA_RETURN_IF_ERROR(CheckFileHeader(*file, row.kind, core_.identity.id, row.id));
    MSA_ASSIGN_OR_RETURN(const LatentLayout layout, LayoutOf(row));
    const LatentRowSizes sizes(layout);
    MSA_ASSIGN_OR_RETURN(const auto places, PlacesIn(row));
    RunWalk walk(*file, row.length);
    for (const LatentPlace& place : places) {
      MSA_RETURN_IF_ERROR(walk.Next(place.position, TailBlockBytes(sizes, place.num_chunks)));
      if (doomed_.contains(place.version)) continue;
      MSA_ASSIGN_OR_RETURN(const TailBlock block, TailBlock::Read(*file, sizes, place));
      MSA_RETURN_IF_ERROR(OpenSealed(place, block.rows()));
    }
    return walk.Finish();
  }

  // Every row of a segment belongs to a passage.
  Status VerifySegment(const Catalog::FileRow& row) {
    MSA_ASSIGN_OR_RETURN(const LatentLayout layout, LayoutOf(row));
    MSA_ASSIGN_OR_RETURN(const auto segment,
                         CheckSegmentFile(core_.layout.File(row.kind, row.id), layout, row));
    MSA_ASSIGN_OR_RETURN(const auto places, PlacesIn(row));
    int64_t next = 0;
    for (const LatentPlace& place : places) {
      if (place.position != next) break;
      next += place.num_chunks;
      if (doomed_.contains(place.version)) continue;
      MSA_ASSIGN_OR_RETURN(const LatentRows rows,
                           segment->ReadRows(place.position, place.num_chunks, true));
      MSA_RETURN_IF_ERROR(OpenSealed(place, rows));
    }
    if (next == segment->num_rows()) return OkStatus();
    return DataLoss("row " + std::to_string(next) + " of " + std::to_string(segment->num_rows()) +
                    " belongs to no passage or to two");
  }

  // Every passage whose text is kept is in one shard. Others may be, until a compaction writes it
  // anew.
  Status VerifyShardRanges() {
    PassageSet passages;
    PassageSet dropped;
    MSA_RETURN_IF_ERROR(catalog_.ForEachVersion([&](const VersionRow& version) {
      PassageSet& set = version.info.text_kept ? passages : dropped;
      set.AddRange(version.first_passage, version.info.num_passages);
      return OkStatus();
    }));
    MSA_ASSIGN_OR_RETURN(const auto shards, catalog_.Shards());
    int64_t indexed = 0;
    int64_t end = 0;
    for (const Catalog::ShardRow& shard : shards) {
      const int64_t kept = passages.CountRange(shard.first_passage, shard.end_passage);
      if (shard.first_passage < end || shard.passages < kept ||
          shard.passages - kept > dropped.CountRange(shard.first_passage, shard.end_passage)) {
        return DataLoss(core_.layout.File(FileKind::kLexical, shard.file) +
                        ": covers other passages than the bank has");
      }
      end = shard.end_passage;
      indexed += kept;
    }
    if (indexed == passages.size()) return OkStatus();
    return DataLoss("lexical: " + std::to_string(passages.size() - indexed) +
                    " passages are in no shard");
  }

  BankCore& core_;
  Catalog& catalog_;
  std::map<EncodingId, EncodingInfo> encodings_;
  std::set<int64_t> doomed_;
  Progress progress_;
};

}  // namespace

Result<int64_t> VerifyContents(BankCore& core, Catalog& catalog, ProgressMode progress) {
  return ContentVerifier(core, catalog, progress).Verify();
}

}  // namespace msa
