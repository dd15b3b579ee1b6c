#include "msa/bank/latent_writer.h"

#include <algorithm>
#include <tuple>

#include "msa/bank/latent_catalog.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

// Tails of up to this many times the size at which they are sealed are held in memory meanwhile.
constexpr int64_t kSealInMemory = 4;

}  // namespace

Result<LatentWriter::OpenedEncoding> LatentWriter::OpenEncoding(const EncodingInfo& encoding) {
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog));
  LatentLayout wanted = encoding.layout;
  wanted.is_sealed = catalog.cipher() != nullptr;
  for (const EncodingInfo& known : encodings) {
    if (known.fingerprint != encoding.fingerprint) continue;
    if (known.layout == wanted) return OpenedEncoding{known.id};
    return FailedPrecondition("encoding " + encoding.fingerprint +
                              " is in the bank with other shapes or types of latents");
  }
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  MSA_ASSIGN_OR_RETURN(
      Statement insert,
      catalog.db().Prepare("INSERT INTO encodings VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"));
  const LatentLayout& layout = encoding.layout;
  const EncodingId id{encodings.empty() ? 1 : encodings.back().id.value + 1};
  MSA_RETURN_IF_ERROR(insert
                          .Bind(id.value, encoding.fingerprint, encoding.config_json,
                                layout.key_dim, layout.layers, layout.kv_heads, layout.head_dim,
                                DTypeName(layout.key_dtype), DTypeName(layout.latent_dtype),
                                UnixMilliseconds())
                          .Run());
  return OpenedEncoding{id, true};
}

Status LatentWriter::CheckPassages(EncodingId encoding, VersionId version, int64_t first_passage,
                                   int64_t count) {
  Catalog& catalog = transaction_.catalog();
  MSA_ASSIGN_OR_RETURN(const auto row, catalog.FindVersion(version));
  const std::string name = "document version " + std::to_string(version.value);
  if (!row) return InvalidArgument("there is no " + name);
  if (count < 1 || first_passage < 0 || first_passage > row->info.num_passages - count) {
    return InvalidArgument("passages " + std::to_string(first_passage) + " + " +
                           std::to_string(count) + " of " + name + ", which has " +
                           std::to_string(row->info.num_passages));
  }
  // The place that holds the last of them would also show one that begins among them.
  MSA_ASSIGN_OR_RETURN(const auto overlap,
                       FindPlaceUpTo(catalog, encoding, version, first_passage + count - 1));
  if (overlap && overlap->first_passage + overlap->num_passages() > first_passage) {
    return AlreadyExists(name + " has latents from passage " +
                         std::to_string(overlap->first_passage) + " on");
  }
  return OkStatus();
}

Result<LatentWriter::Tail*> LatentWriter::OpenTail(EncodingId encoding) {
  if (const auto found = tails_.find(encoding); found != tails_.end()) return &found->second;
  MSA_ASSIGN_OR_RETURN(auto info, FindEncoding(transaction_.catalog(), encoding));
  if (!info) return InvalidArgument("there is no encoding " + std::to_string(encoding.value));
  const BankCore& core = transaction_.core();
  MSA_ASSIGN_OR_RETURN(
      Statement last,
      transaction_.catalog().db().Prepare(
          "SELECT id, length FROM files WHERE kind = ?1 AND encoding = ?2 ORDER BY id DESC"));
  MSA_ASSIGN_OR_RETURN(const bool row,
                       last.Bind(static_cast<int64_t>(FileKind::kTail), encoding.value).Step());
  if (row) {
    MSA_ASSIGN_OR_RETURN(AppendFile file, AppendFile::Open(core.fs, core.layout, FileKind::kTail,
                                                           FileId{last.Int(0)}, last.Int(1)));
    return &tails_.emplace(encoding, Tail{*std::move(info), std::move(file)}).first->second;
  }
  MSA_ASSIGN_OR_RETURN(const FileId id, transaction_.NewFile(FileKind::kTail, encoding));
  MSA_ASSIGN_OR_RETURN(AppendFile file, AppendFile::Create(core.fs, core.layout, FileKind::kTail,
                                                           core.identity.id, id));
  return &tails_.emplace(encoding, Tail{*std::move(info), std::move(file)}).first->second;
}

Status LatentWriter::Add(EncodingId encoding, VersionId version, int64_t first_passage,
                         const LatentBlock& block) {
  const auto num_passages = static_cast<int64_t>(block.chunks.size());
  MSA_RETURN_IF_ERROR(CheckPassages(encoding, version, first_passage, num_passages));
  MSA_RETURN_IF_ERROR(transaction_.Begin());
  MSA_ASSIGN_OR_RETURN(Tail * tail, OpenTail(encoding));
  MSA_RETURN_IF_ERROR(CheckLatentBlock(block, tail->encoding.layout));
  MSA_ASSIGN_OR_RETURN(const auto sealer, transaction_.catalog().FindSealer(version));
  const std::vector<std::byte> bytes = EncodeTailBlock(
      sealer ? SealBlock(block, tail->encoding.layout, *sealer, encoding, first_passage) : block);
  MSA_ASSIGN_OR_RETURN(const int64_t position, tail->file.Append(bytes));

  const std::vector<uint16_t> chunks(block.chunks.begin(), block.chunks.end());
  int64_t num_chunks = 0;
  for (const int64_t count : block.chunks) num_chunks += count;
  MSA_ASSIGN_OR_RETURN(Statement insert,
                       transaction_.catalog().db().Prepare(
                           "INSERT INTO places VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"));
  MSA_RETURN_IF_ERROR(insert
                          .Bind(encoding.value, version.value, first_passage, num_passages,
                                num_chunks, block.chunk_tokens, std::as_bytes(std::span(chunks)),
                                tail->file.id().value, position,
                                static_cast<int64_t>(Checksum64(bytes)))
                          .Run());
  has_pending_ = true;
  return OkStatus();
}

Status LatentWriter::Finish() {
  for (auto it = tails_.begin(); it != tails_.end();) {
    Tail& tail = it->second;
    if (tail.file.length() < seal_bytes_) {
      MSA_RETURN_IF_ERROR(tail.file.Sync());
      MSA_RETURN_IF_ERROR(transaction_.SetFile(tail.file.id(), tail.file.length()));
      ++it;
    } else {
      MSA_RETURN_IF_ERROR(Seal(tail));
      it = tails_.erase(it);
    }
  }
  has_pending_ = false;
  return OkStatus();
}

Status LatentWriter::Seal(const Tail& tail) {
  const EncodingInfo& encoding = tail.encoding;
  MSA_ASSIGN_OR_RETURN(const auto places,
                       ReadPlacesInFile(transaction_.catalog(), encoding.id, tail.file.id()));
  MSA_ASSIGN_OR_RETURN(const auto source,
                       transaction_.files().Open(FileKind::kTail, tail.file.id()));
  const LatentRowSizes sizes(encoding.layout);
  const auto read = [&](const LatentPlace& place) {
    return TailBlock::Read(*source, sizes, place);
  };
  // A segment is written part by part, and each part takes all blocks: read and verified once,
  // unless one commit has made the tail far larger than usual.
  if (tail.file.length() > kSealInMemory * seal_bytes_) {
    MSA_RETURN_IF_ERROR(SealPlaces(transaction_, encoding, places, read));
  } else {
    std::vector<TailBlock> blocks;
    for (const LatentPlace& place : places) {
      MSA_ASSIGN_OR_RETURN(blocks.emplace_back(), read(place));
    }
    MSA_RETURN_IF_ERROR(SealPlaces(transaction_, encoding, places, [&](const LatentPlace& place) {
      const auto index = static_cast<size_t>(&place - places.data());
      return Result<TailBlock>(TailBlock::Borrow(blocks[index].rows()));
    }));
  }
  return transaction_.RemoveAfterCommit(FileKind::kTail, tail.file.id());
}

Status SealPlaces(WriteTransaction& transaction, const EncodingInfo& encoding,
                  std::span<const LatentPlace> places,
                  FunctionRef<Result<TailBlock>(const LatentPlace&)> read_block) {
  const BankCore& core = transaction.core();
  MSA_ASSIGN_OR_RETURN(const FileId id, transaction.NewFile(FileKind::kSegment, encoding.id));
  MSA_ASSIGN_OR_RETURN(
      const SealedSegment sealed,
      WriteSegment(core.fs, core.layout.File(FileKind::kSegment, id), encoding.layout,
                   {core.identity.id, encoding.fingerprint}, places, read_block));
  MSA_RETURN_IF_ERROR(transaction.SetFile(id, sealed.length, sealed.header_checksum));
  MSA_ASSIGN_OR_RETURN(Statement move, transaction.catalog().db().Prepare(
                                           "UPDATE places SET file = ?4, position = ?5,"
                                           " checksum = 0 WHERE encoding = ?1 AND version = ?2"
                                           " AND first_passage = ?3"));
  int64_t row = 0;
  for (const LatentPlace& place : places) {
    MSA_RETURN_IF_ERROR(
        move.Bind(encoding.id.value, place.version, place.first_passage, id.value, row).Run());
    row += place.num_chunks;
  }
  return OkStatus();
}

Status ResealPlaces(WriteTransaction& transaction, const EncodingInfo& encoding,
                    std::vector<LatentPlace> places) {
  // Ascending by passage, as the rows of a segment are.
  std::ranges::sort(places, {}, [](const LatentPlace& place) {
    return std::tuple(place.version, place.first_passage);
  });
  SegmentCache& segments = transaction.core().segments;
  std::map<FileId, std::shared_ptr<const Segment>> sources;
  for (const LatentPlace& place : places) {
    if (sources.contains(place.file)) continue;
    MSA_ASSIGN_OR_RETURN(const auto files, transaction.catalog().Files(place.file));
    if (files.empty()) {
      return DataLoss("catalog: segment " + std::to_string(place.file.value) + " is missing");
    }
    MSA_ASSIGN_OR_RETURN(sources[place.file], segments.Open(files.front(), encoding.layout));
  }
  return SealPlaces(transaction, encoding, places, [&](const LatentPlace& place) {
    auto rows = sources.at(place.file)->ReadRows(place.position, place.num_chunks, true);
    return rows.ok() ? Result<TailBlock>(TailBlock::Borrow(*rows)) : rows.status();
  });
}

Status ReplaceSegment(WriteTransaction& transaction, const Catalog::FileRow& segment,
                      std::vector<LatentPlace> places) {
  if (!places.empty()) {
    MSA_ASSIGN_OR_RETURN(const EncodingInfo encoding,
                         GetEncoding(transaction.catalog(), segment.encoding));
    MSA_RETURN_IF_ERROR(ResealPlaces(transaction, encoding, std::move(places)));
  }
  return transaction.RemoveAfterCommit(FileKind::kSegment, segment.id);
}

Status CopyToNewTail(WriteTransaction& transaction, const EncodingInfo& encoding,
                     std::span<const LatentPlace> places) {
  const BankCore& core = transaction.core();
  MSA_ASSIGN_OR_RETURN(const FileId id, transaction.NewFile(FileKind::kTail, encoding.id));
  MSA_ASSIGN_OR_RETURN(AppendFile tail, AppendFile::Create(core.fs, core.layout, FileKind::kTail,
                                                           core.identity.id, id));
  MSA_ASSIGN_OR_RETURN(Statement move,
                       transaction.catalog().db().Prepare(
                           "UPDATE places SET file = ?4, position = ?5 WHERE encoding = ?1"
                           " AND version = ?2 AND first_passage = ?3"));
  const LatentRowSizes sizes(encoding.layout);
  std::vector<std::byte> block;
  for (const LatentPlace& place : places) {
    MSA_ASSIGN_OR_RETURN(const auto source, transaction.files().Open(FileKind::kTail, place.file));
    MSA_RETURN_IF_ERROR(
        ReadRange(*source, place.position, TailBlockBytes(sizes, place.num_chunks), &block));
    MSA_ASSIGN_OR_RETURN(const int64_t position, tail.Append(block));
    MSA_RETURN_IF_ERROR(
        move.Bind(encoding.id.value, place.version, place.first_passage, id.value, position).Run());
  }
  MSA_RETURN_IF_ERROR(tail.Sync());
  return transaction.SetFile(id, tail.length());
}

}  // namespace msa
