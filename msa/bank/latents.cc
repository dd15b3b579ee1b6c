#include "msa/bank/latents.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <utility>

#include "msa/bank/blocks.h"
#include "msa/bank/bytes.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr int64_t kAlignment = 64;
constexpr size_t kChecksumDigits = 16;

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// What the messages of a row are bound to; a passage has at most 65535 rows.
int64_t RowBlock(int64_t passage, int64_t row) { return (passage << 16) | row; }

template <class T>
std::span<const std::byte> RowOf(const std::vector<T>& part, int64_t row, int64_t row_bytes) {
  return std::as_bytes(std::span(part))
      .subspan(static_cast<size_t>(row * row_bytes), static_cast<size_t>(row_bytes));
}

void Append(std::span<const std::byte> bytes, std::vector<std::byte>* out) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}

void AppendFloats(std::span<const std::byte> bytes, std::vector<float>* out) {
  if (bytes.empty()) return;
  const size_t count = out->size();
  out->resize(count + bytes.size() / sizeof(float));
  std::memcpy(out->data() + count, bytes.data(), bytes.size());
}

// Calls f(row, block) for each row of passages that have `chunks` rows each: its index, and what
// its messages are bound to.
template <class F>
Status ForEachRow(std::span<const int64_t> chunks, int64_t first_passage, F f) {
  int64_t row = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const int64_t passage = first_passage + static_cast<int64_t>(i);
    for (int64_t c = 0; c < chunks[i]; ++c) {
      MSA_RETURN_IF_ERROR(f(row++, RowBlock(passage, c)));
    }
  }
  return OkStatus();
}

std::string SegmentHeader(const LatentLayout& layout, int64_t rows, const SegmentIdentity& identity,
                          std::string_view checksums) {
  std::vector<SafeTensor> tensors;
  for (const LatentTensor& part : LatentTensors(layout, rows)) {
    tensors.push_back({part.name, part.dtype, part.shape, {}});
  }
  return SafetensorsHeader(tensors, {{"format", "msa-segment"},
                                     {"version", "1"},
                                     {"bank", HexEncode(identity.bank)},
                                     {"encoding", identity.encoding_fingerprint},
                                     {"checksums", std::string(checksums)}});
}

// Writes data in order and sums up its blocks on the way, so that a segment of any size passes
// through a small buffer.
class BlockWriter {
 public:
  BlockWriter(File& file, int64_t begin) : file_(file), position_(begin) {}

  Status Append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const size_t take = std::min(bytes.size(), kBlockBytes - block_.size());
      block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(take));
      bytes = bytes.subspan(take);
      if (block_.size() == kBlockBytes) MSA_RETURN_IF_ERROR(Flush());
    }
    return OkStatus();
  }

  Status Flush() {
    if (block_.empty()) return OkStatus();
    const uint64_t checksum = Checksum64(block_);
    hex_ += HexEncode(std::as_bytes(std::span(&checksum, 1)));
    MSA_RETURN_IF_ERROR(file_.WriteAt(position_, block_));
    position_ += static_cast<int64_t>(block_.size());
    block_.clear();
    return OkStatus();
  }

  int64_t position() const { return position_; }
  const std::string& hex() const { return hex_; }

 private:
  File& file_;
  int64_t position_;
  std::vector<std::byte> block_;
  std::string hex_;
};

Result<std::vector<uint64_t>> ParseChecksums(std::string_view hex, size_t blocks) {
  std::vector<uint64_t> checksums;
  if (hex.size() != blocks * kChecksumDigits) {
    return DataLoss("checksums for " + std::to_string(hex.size() / kChecksumDigits) +
                    " blocks, expected " + std::to_string(blocks));
  }
  for (size_t i = 0; i < blocks; ++i) {
    const char* digits = hex.data() + i * kChecksumDigits;
    uint64_t big_endian = 0;
    const auto [end, error] = std::from_chars(digits, digits + kChecksumDigits, big_endian, 16);
    if (error != std::errc() || end != digits + kChecksumDigits) {
      return DataLoss("checksum of block " + std::to_string(i) + " is not hexadecimal");
    }
    checksums.push_back(__builtin_bswap64(big_endian));
  }
  return checksums;
}

}  // namespace

std::vector<LatentTensor> LatentTensors(const LatentLayout& l, int64_t n) {
  const LatentRowSizes sizes(l);
  if (l.is_sealed) {
    return {{"r", DType::kU8, {n, sizes.key}, &LatentRows::keys, sizes.key},
            {"kv", DType::kU8, {n, sizes.latent}, &LatentRows::latents, sizes.latent}};
  }
  std::vector<LatentTensor> tensors = {
      {"r", l.key_dtype, {n, l.key_dim}, &LatentRows::keys, sizes.key},
      {"r_scale", DType::kF32, {n}, &LatentRows::key_scales, sizes.key_scale},
      {"kv",
       l.latent_dtype,
       {n, l.layers, 2, l.kv_heads, l.head_dim},
       &LatentRows::latents,
       sizes.latent},
      {"kv_scale",
       DType::kF32,
       {n, l.layers, 2, l.kv_heads},
       &LatentRows::latent_scales,
       sizes.latent_scales}};
  std::erase_if(tensors, [](const LatentTensor& t) { return t.row_bytes == 0; });
  return tensors;
}

bool IsInBounds(const LatentLayout& layout) {
  // A passage has at most 2^16 latents, of at most 2^24 bytes.
  constexpr int64_t kMaxDimension = 1 << 20;
  const auto in_bounds = [](int64_t size) { return size >= 0 && size <= kMaxDimension; };
  return in_bounds(layout.key_dim) && in_bounds(layout.layers) && in_bounds(layout.kv_heads) &&
         in_bounds(layout.head_dim) && in_bounds(layout.layers * layout.kv_heads) &&
         in_bounds(layout.latent_row_elements());
}

LatentRowSizes::LatentRowSizes(const LatentLayout& layout)
    : key(layout.key_row_bytes()),
      key_scale(layout.key_dtype == DType::kI8 ? int64_t{sizeof(float)} : 0),
      latent(layout.latent_row_bytes()),
      latent_scales(layout.latent_row_scales() * int64_t{sizeof(float)}) {
  if (!layout.is_sealed) return;
  constexpr auto kExtra = static_cast<int64_t>(Sealer::kExtraBytes);
  key += std::exchange(key_scale, 0) + kExtra;
  latent += std::exchange(latent_scales, 0) + kExtra;
}

LatentLayout Unsealed(LatentLayout layout) {
  layout.is_sealed = false;
  return layout;
}

LatentRows SliceRows(const LatentRows& rows, const LatentRowSizes& sizes, int64_t first,
                     int64_t count) {
  const auto slice = [&](std::span<const std::byte> part, int64_t row_bytes) {
    return part.subspan(static_cast<size_t>(first * row_bytes),
                        static_cast<size_t>(count * row_bytes));
  };
  return {slice(rows.keys, sizes.key), slice(rows.key_scales, sizes.key_scale),
          slice(rows.latents, sizes.latent), slice(rows.latent_scales, sizes.latent_scales)};
}

LatentBlock CopyRows(std::vector<int64_t> chunks, int64_t chunk_tokens, const LatentRows& rows) {
  LatentBlock block;
  block.chunks = std::move(chunks);
  block.chunk_tokens = chunk_tokens;
  Append(rows.keys, &block.keys);
  AppendFloats(rows.key_scales, &block.key_scales);
  Append(rows.latents, &block.latents);
  AppendFloats(rows.latent_scales, &block.latent_scales);
  return block;
}

LatentRows RowsOf(const LatentBlock& block) {
  return {block.keys, std::as_bytes(std::span(block.key_scales)), block.latents,
          std::as_bytes(std::span(block.latent_scales))};
}

Status CheckLatentBlock(const LatentBlock& block, const LatentLayout& layout) {
  int64_t n = 0;
  for (const int64_t chunks : block.chunks) {
    if (chunks < 0 || chunks > UINT16_MAX) {
      return InvalidArgument("a passage of " + std::to_string(chunks) +
                             " latents; 0 to 65535 fit the format");
    }
    n += chunks;
  }
  const LatentRowSizes sizes(Unsealed(layout));
  const auto check = [&](const char* what, size_t found_bytes, int64_t row_bytes) {
    const int64_t expected = n * row_bytes;
    if (static_cast<int64_t>(found_bytes) == expected) return OkStatus();
    return InvalidArgument(std::string(what) + " of " + std::to_string(n) + " latents have " +
                           std::to_string(found_bytes) + " bytes, expected " +
                           std::to_string(expected));
  };
  MSA_RETURN_IF_ERROR(check("keys", block.keys.size(), sizes.key));
  MSA_RETURN_IF_ERROR(
      check("key scales", block.key_scales.size() * sizeof(float), sizes.key_scale));
  MSA_RETURN_IF_ERROR(check("latents", block.latents.size(), sizes.latent));
  return check("latent scales", block.latent_scales.size() * sizeof(float), sizes.latent_scales);
}

LatentBlock SealBlock(const LatentBlock& block, const LatentLayout& layout, const Sealer& sealer,
                      EncodingId encoding, int64_t first_passage) {
  const LatentRowSizes sizes(Unsealed(layout));
  LatentBlock sealed;
  sealed.chunks = block.chunks;
  sealed.chunk_tokens = block.chunk_tokens;
  std::vector<std::byte> content;
  const Status status =
      ForEachRow(block.chunks, first_passage, [&](int64_t row, int64_t place) -> Status {
        const auto seal = [&](CipherRole role, std::vector<std::byte>* out) {
          Append(sealer.Seal(role, encoding.value, place, content), out);
          content.clear();
        };
        Append(RowOf(block.keys, row, sizes.key), &content);
        Append(RowOf(block.key_scales, row, sizes.key_scale), &content);
        seal(CipherRole::kRoutingKey, &sealed.keys);
        Append(RowOf(block.latents, row, sizes.latent), &content);
        Append(RowOf(block.latent_scales, row, sizes.latent_scales), &content);
        seal(CipherRole::kLatent, &sealed.latents);
        return OkStatus();
      });
  MSA_CHECK(status.ok());
  return sealed;
}

Result<LatentBlock> OpenRows(const LatentPlace& place, const LatentLayout& layout, int64_t first,
                             int64_t count, const LatentRows& rows, bool with_latents) {
  const LatentRowSizes stored(layout);
  const LatentRowSizes sizes(Unsealed(layout));
  LatentBlock block;
  block.chunks.assign(place.chunks.begin() + first, place.chunks.begin() + first + count);
  block.chunk_tokens = place.chunk_tokens;
  if (!place.sealer) {
    return DataLoss("latents of version " + std::to_string(place.version) +
                    ": the document's key was destroyed");
  }
  const auto open = [&](CipherRole role, int64_t bound, std::span<const std::byte> part,
                        int64_t row, int64_t row_bytes) {
    return place.sealer->Open(
        role, place.encoding.value, bound,
        part.subspan(static_cast<size_t>(row * row_bytes), static_cast<size_t>(row_bytes)));
  };
  MSA_RETURN_IF_ERROR(ForEachRow(
      block.chunks, place.first_passage + first, [&](int64_t row, int64_t bound) -> Status {
        MSA_ASSIGN_OR_RETURN(const auto key,
                             open(CipherRole::kRoutingKey, bound, rows.keys, row, stored.key));
        Append(std::span(key).first(static_cast<size_t>(sizes.key)), &block.keys);
        AppendFloats(std::span(key).subspan(static_cast<size_t>(sizes.key)), &block.key_scales);
        if (!with_latents) return OkStatus();
        MSA_ASSIGN_OR_RETURN(const auto latent,
                             open(CipherRole::kLatent, bound, rows.latents, row, stored.latent));
        Append(std::span(latent).first(static_cast<size_t>(sizes.latent)), &block.latents);
        AppendFloats(std::span(latent).subspan(static_cast<size_t>(sizes.latent)),
                     &block.latent_scales);
        return OkStatus();
      }));
  return block;
}

std::vector<std::byte> EncodeTailBlock(const LatentBlock& block) {
  ByteWriter writer;
  writer.PutBytes(block.keys);
  writer.Align(kAlignment);
  writer.PutBytes(std::as_bytes(std::span(block.key_scales)));
  writer.Align(kAlignment);
  writer.PutBytes(block.latents);
  writer.Align(kAlignment);
  writer.PutBytes(std::as_bytes(std::span(block.latent_scales)));
  writer.Align(kAlignment);
  return {writer.bytes().begin(), writer.bytes().end()};
}

int64_t TailBlockBytes(const LatentRowSizes& sizes, int64_t rows) {
  return Aligned(rows * sizes.key) + Aligned(rows * sizes.key_scale) +
         Aligned(rows * sizes.latent) + Aligned(rows * sizes.latent_scales);
}

Result<TailBlock> TailBlock::Read(const File& file, const LatentRowSizes& sizes,
                                  const LatentPlace& place) {
  const int64_t rows = place.num_chunks;
  // The catalog's readers bound rows and sizes, so the products below stay under 2^63.
  const int64_t bytes = TailBlockBytes(sizes, rows);
  if (place.position < kFileHeaderBytes) {
    return DataLoss("latents at byte " + std::to_string(place.position) + ", in the file's header");
  }
  TailBlock block;
  MSA_RETURN_IF_ERROR(ReadRange(file, place.position, bytes, &block.bytes_));
  if (Checksum64(block.bytes_) != place.checksum) {
    return DataLoss("latents at byte " + std::to_string(place.position) + ", length " +
                    std::to_string(bytes) + ": wrong checksum");
  }
  int64_t offset = 0;
  const auto part = [&](int64_t row_bytes) {
    const auto span =
        std::span<const std::byte>(block.bytes_)
            .subspan(static_cast<size_t>(offset), static_cast<size_t>(rows * row_bytes));
    offset += Aligned(rows * row_bytes);
    return span;
  };
  block.rows_.keys = part(sizes.key);
  block.rows_.key_scales = part(sizes.key_scale);
  block.rows_.latents = part(sizes.latent);
  block.rows_.latent_scales = part(sizes.latent_scales);
  return block;
}

Result<std::shared_ptr<const Segment>> Segment::Open(const std::string& path,
                                                     const LatentLayout& layout, int64_t length,
                                                     uint64_t header_checksum) {
  std::shared_ptr<Segment> segment(new Segment(layout));
  MSA_ASSIGN_OR_RETURN(segment->file_, SafetensorsFile::Open(path));
  const Status status = segment->ReadHeader(layout, length, header_checksum);
  if (!status.ok()) return status.WithContext(path);
  return std::shared_ptr<const Segment>(segment);
}

Status Segment::ReadHeader(const LatentLayout& layout, int64_t length, uint64_t header_checksum) {
  if (file_->size_bytes() != length) {
    return DataLoss(std::to_string(file_->size_bytes()) + " bytes, expected " +
                    std::to_string(length));
  }
  const SafeTensor* keys = file_->Find("r");
  if (keys == nullptr || keys->shape.size() != 2) return DataLoss("tensor r is missing");
  num_rows_ = keys->shape[0];
  const std::byte* data_begin = keys->bytes.data();
  size_t data_bytes = 0;
  for (const LatentTensor& part : LatentTensors(layout, num_rows_)) {
    const SafeTensor* tensor = file_->Find(part.name);
    if (tensor == nullptr || tensor->dtype != part.dtype || tensor->shape != part.shape ||
        tensor->bytes.data() != data_begin + data_bytes) {
      return DataLoss(std::string("tensor ") + part.name +
                      " is not what the catalog's encoding says");
    }
    rows_.*part.rows = tensor->bytes;
    data_bytes += tensor->bytes.size();
  }
  const std::span<const std::byte> all = file_->bytes();
  if (data_begin + data_bytes != all.data() + all.size()) {
    return DataLoss("bytes after its tensors");
  }
  // The tensors end the file, so the header is what stands before them.
  const auto header_bytes = static_cast<size_t>(length) - data_bytes;
  if (Checksum64({data_begin - header_bytes, header_bytes}) != header_checksum) {
    return DataLoss("bytes 0 to " + std::to_string(header_bytes) + ": wrong checksum");
  }
  const auto checksums = file_->metadata().find("checksums");
  if (checksums == file_->metadata().end()) return DataLoss("no checksums in the metadata");
  MSA_ASSIGN_OR_RETURN(std::vector<uint64_t> blocks,
                       ParseChecksums(checksums->second, NumBlocks(data_bytes)));
  data_ = VerifiedBytes({data_begin, data_bytes}, std::move(blocks));
  return OkStatus();
}

Status Segment::Verify(std::span<const std::byte> bytes) const {
  if (bytes.empty()) return OkStatus();
  const auto offset = static_cast<size_t>(bytes.data() - data_.bytes().data());
  return data_.Verify(offset, bytes.size()).WithContext(file_->path() + ", data");
}

Result<LatentRows> Segment::ReadRows(int64_t first, int64_t count, bool with_latents) const {
  if (first < 0 || count < 0 || count > num_rows_ || first > num_rows_ - count) {
    return DataLoss(file_->path() + ": rows " + std::to_string(first) + " + " +
                    std::to_string(count) + " of " + std::to_string(num_rows_));
  }
  const LatentRows rows = SliceRows(rows_, sizes_, first, count);
  MSA_RETURN_IF_ERROR(Verify(rows.keys));
  MSA_RETURN_IF_ERROR(Verify(rows.key_scales));
  if (with_latents) {
    MSA_RETURN_IF_ERROR(Verify(rows.latents));
    MSA_RETURN_IF_ERROR(Verify(rows.latent_scales));
  }
  return rows;
}

Result<SealedSegment> WriteSegment(FileSystem& fs, const std::string& path,
                                   const LatentLayout& layout, const SegmentIdentity& identity,
                                   std::span<const LatentPlace> places,
                                   FunctionRef<Result<TailBlock>(const LatentPlace&)> read_block) {
  int64_t rows = 0;
  for (const LatentPlace& place : places) rows += place.num_chunks;
  const int64_t data_bytes = rows * LatentRowSizes(layout).total();
  const size_t blocks = NumBlocks(static_cast<size_t>(data_bytes));
  // Checksums have a fixed width, so the header's size is known before they are.
  const auto header_bytes = static_cast<int64_t>(
      SegmentHeader(layout, rows, identity, std::string(blocks * kChecksumDigits, '0')).size());

  MSA_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(file->Truncate(0));
  BlockWriter writer(*file, header_bytes);
  for (const LatentTensor& part : LatentTensors(layout, rows)) {
    for (const LatentPlace& place : places) {
      MSA_ASSIGN_OR_RETURN(const TailBlock block, read_block(place));
      MSA_RETURN_IF_ERROR(writer.Append(block.rows().*part.rows));
    }
  }
  MSA_RETURN_IF_ERROR(writer.Flush());
  const std::string header = SegmentHeader(layout, rows, identity, writer.hex());
  MSA_CHECK(static_cast<int64_t>(header.size()) == header_bytes);
  MSA_RETURN_IF_ERROR(file->WriteAt(0, AsBytes(header)));
  MSA_RETURN_IF_ERROR(file->Sync());
  MSA_RETURN_IF_ERROR(file->Close());
  return SealedSegment{writer.position(), Checksum64(AsBytes(header))};
}

}  // namespace msa
