#include "msa/bank/latents_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <tuple>
#include <utility>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"

namespace msa {
namespace {

constexpr char kFormat[] = "msa-latents";
constexpr char kVersion[] = "1";
constexpr size_t kBufferBytes = 256 << 10;

// The tensors with an entry a passage, which come before the rows.
enum PassagePart { kDocument, kPassage, kChunks, kChunkTokens, kTokens, kChecksum };
constexpr std::array<const char*, 6> kPassageParts = {"document",     "passage",        "chunks",
                                                      "chunk_tokens", "tokens_blake2b", "checksum"};

std::vector<SafeTensor> TensorsOf(const LatentLayout& layout, int64_t passages, int64_t rows) {
  std::vector<SafeTensor> tensors;
  for (size_t part = 0; part < kPassageParts.size(); ++part) {
    SafeTensor& tensor = tensors.emplace_back();
    tensor.name = kPassageParts[part];
    tensor.dtype = part == kTokens ? DType::kU8 : DType::kI64;
    tensor.shape = {passages};
    if (part == kTokens) tensor.shape.push_back(std::tuple_size_v<Digest>);
  }
  for (const LatentTensor& part : LatentTensors(layout, rows)) {
    tensors.push_back({part.name, part.dtype, part.shape, {}});
  }
  return tensors;
}

int64_t BytesOf(const SafeTensor& tensor) {
  return tensor.num_elements() * DTypeSize(tensor.dtype);
}

std::string Hex(uint64_t checksum) { return HexEncode(std::as_bytes(std::span(&checksum, 1))); }

// What passages' own checksums do not cover.
std::string EncodingChecksum(const EncodingInfo& encoding) {
  ByteWriter bytes;
  bytes.PutField(encoding.fingerprint);
  bytes.PutField(encoding.config_json);
  const LatentLayout& layout = encoding.layout;
  for (const int64_t size : {layout.key_dim, layout.layers, layout.kv_heads, layout.head_dim}) {
    bytes.Put<int64_t>(size);
  }
  return Hex(Checksum64(bytes.bytes()));
}

uint64_t PassageChecksum(const ExportedPassage& passage, const LatentRows& rows) {
  const std::array fields = {passage.document, passage.passage, passage.chunks,
                             passage.chunk_tokens};
  ByteWriter bytes;
  bytes.PutBytes(std::as_bytes(std::span(fields)));
  bytes.PutBytes(passage.tokens);
  bytes.PutBytes(rows.keys);
  bytes.PutBytes(rows.key_scales);
  bytes.PutBytes(rows.latents);
  bytes.PutBytes(rows.latent_scales);
  return Checksum64(bytes.bytes());
}

template <class T, class F>
bool All(std::span<const std::byte> bytes, F is_good) {
  for (size_t i = 0; i < bytes.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + i, sizeof(T));
    if (!is_good(value)) return false;
  }
  return true;
}

// Such values as a bank stores: finite, and of i8 -127 to 127.
bool AreStorable(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::kF32: return All<float>(bytes, [](float x) { return std::isfinite(x); });
    case DType::kF16: return All<F16>(bytes, [](F16 x) { return (x.bits & 0x7c00) != 0x7c00; });
    case DType::kBF16: return All<BF16>(bytes, [](BF16 x) { return (x.bits & 0x7f80) != 0x7f80; });
    case DType::kI8: return All<int8_t>(bytes, [](int8_t x) { return x != INT8_MIN; });
    default: return false;
  }
}

Status CheckValues(const ExportedPassage& passage, const LatentLayout& layout,
                   const LatentRows& rows) {
  const auto is_scale = [](float x) { return std::isfinite(x) && x >= 0; };
  if (AreStorable(layout.key_dtype, rows.keys) && All<float>(rows.key_scales, is_scale) &&
      AreStorable(layout.latent_dtype, rows.latents) && All<float>(rows.latent_scales, is_scale)) {
    return OkStatus();
  }
  return DataLoss("passage " + std::to_string(passage.passage) + " of document " +
                  std::to_string(passage.document) + ": a value or scale that is not finite");
}

int64_t Int64At(std::span<const std::byte> part, int64_t index) {
  int64_t value = 0;
  std::memcpy(&value, part.data() + index * int64_t{sizeof(value)}, sizeof(value));
  return value;
}

std::span<const std::byte> DigestAt(std::span<const std::byte> part, int64_t index) {
  constexpr size_t kSize = std::tuple_size_v<Digest>;
  return part.subspan(static_cast<size_t>(index) * kSize, kSize);
}

int Compare(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::memcmp(a.data(), b.data(), std::tuple_size_v<Digest>);
}

}  // namespace

Digest HashTokens(std::span<const int32_t> tokens) { return Blake2b(std::as_bytes(tokens)); }

// One tensor of the file, filled from its begin to its end.
class LatentsFileWriter::Stream {
 public:
  explicit Stream(int64_t position) : position_(position) {}

  Status Append(File& file, std::span<const std::byte> bytes) {
    const size_t end = buffer_.size();
    buffer_.resize(end + bytes.size());
    std::ranges::copy(bytes, buffer_.begin() + static_cast<ptrdiff_t>(end));
    return buffer_.size() < kBufferBytes ? OkStatus() : Flush(file);
  }

  Status Flush(File& file) {
    MSA_RETURN_IF_ERROR(file.WriteAt(position_, buffer_));
    position_ += static_cast<int64_t>(buffer_.size());
    buffer_.clear();
    return OkStatus();
  }

 private:
  int64_t position_;
  std::vector<std::byte> buffer_;
};

LatentsFileWriter::LatentsFileWriter(FileSystem& fs, std::string path, const LatentLayout& layout,
                                     const Sizes& sizes)
    : fs_(fs),
      path_(std::move(path)),
      part_path_(path_ + ".part"),
      layout_(Unsealed(layout)),
      sizes_(sizes) {}

LatentsFileWriter::~LatentsFileWriter() {
  if (file_ == nullptr) return;
  file_.reset();
  (void)fs_.Remove(part_path_);  // nobody takes it for a whole one
}

Result<std::unique_ptr<LatentsFileWriter>> LatentsFileWriter::Create(FileSystem& fs,
                                                                     const std::string& path,
                                                                     const EncodingInfo& encoding,
                                                                     const Sizes& sizes) {
  std::unique_ptr<LatentsFileWriter> writer(
      new LatentsFileWriter(fs, path, encoding.layout, sizes));
  MSA_RETURN_IF_ERROR(writer->Open(encoding));
  return writer;
}

Status LatentsFileWriter::Open(const EncodingInfo& encoding) {
  const std::vector<SafeTensor> tensors = TensorsOf(layout_, sizes_.passages, sizes_.rows);
  const std::string header = SafetensorsHeader(tensors, {{"format", kFormat},
                                                         {"version", kVersion},
                                                         {"encoding", encoding.fingerprint},
                                                         {"config", encoding.config_json},
                                                         {"checksum", EncodingChecksum(encoding)}});
  MSA_ASSIGN_OR_RETURN(file_, fs_.Open(part_path_, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(file_->Truncate(0));
  MSA_RETURN_IF_ERROR(file_->WriteAt(0, AsBytes(header)));
  auto position = static_cast<int64_t>(header.size());
  for (const SafeTensor& tensor : tensors) {
    streams_.emplace_back(position);
    position += BytesOf(tensor);
  }
  return OkStatus();
}

Status LatentsFileWriter::Append(const ExportedPassage& passage, const LatentRows& rows) {
  MSA_RETURN_IF_ERROR(CheckValues(passage, layout_, rows));
  ++written_.passages;
  written_.rows += passage.chunks;
  if (written_.passages > sizes_.passages || written_.rows > sizes_.rows) {
    return Unavailable("latents were added while they were exported; export again");
  }
  auto stream = streams_.begin();
  const auto append = [&](std::span<const std::byte> bytes) {
    return (stream++)->Append(*file_, bytes);
  };
  const auto checksum = static_cast<int64_t>(PassageChecksum(passage, rows));
  for (const int64_t* field :
       {&passage.document, &passage.passage, &passage.chunks, &passage.chunk_tokens}) {
    MSA_RETURN_IF_ERROR(append(std::as_bytes(std::span(field, 1))));
  }
  MSA_RETURN_IF_ERROR(append(passage.tokens));
  MSA_RETURN_IF_ERROR(append(std::as_bytes(std::span(&checksum, 1))));
  for (const LatentTensor& part : LatentTensors(layout_, passage.chunks)) {
    const std::span<const std::byte> bytes = rows.*part.rows;
    MSA_CHECK(std::ssize(bytes) == passage.chunks * part.row_bytes);
    MSA_RETURN_IF_ERROR(append(bytes));
  }
  return OkStatus();
}

Status LatentsFileWriter::Finish() {
  if (written_.passages != sizes_.passages || written_.rows != sizes_.rows) {
    return Unavailable("latents were dropped while they were exported; export again");
  }
  for (Stream& stream : streams_) MSA_RETURN_IF_ERROR(stream.Flush(*file_));
  MSA_RETURN_IF_ERROR(file_->Sync());
  MSA_RETURN_IF_ERROR(file_->Close());
  MSA_RETURN_IF_ERROR(fs_.Rename(part_path_, path_));
  file_.reset();
  return SyncNameOf(fs_, path_);
}

Result<std::shared_ptr<const LatentsFile>> LatentsFile::Open(const std::string& path,
                                                             ProgressMode progress,
                                                             const std::atomic<bool>* cancelled) {
  std::shared_ptr<LatentsFile> file(new LatentsFile());
  MSA_ASSIGN_OR_RETURN(file->file_, SafetensorsFile::Open(path));
  Status status = file->ReadMetadata();
  if (status.ok()) status = file->ReadLayout();
  if (status.ok()) status = file->ReadTensors();
  if (status.ok()) status = file->IndexPassages();
  if (!status.ok()) return status.WithContext(path);
  Progress verified("verifying latents", "passages", file->num_passages(), progress);
  for (int64_t i = 0; i < file->num_passages(); ++i) {
    if (cancelled != nullptr && *cancelled) return Cancelled("stopped while verifying " + path);
    MSA_RETURN_IF_ERROR(file->Read(i).status());
    verified.Add(1);
  }
  return std::shared_ptr<const LatentsFile>(std::move(file));
}

Status LatentsFile::ReadMetadata() {
  const auto find = [&](const char* key) {
    const auto found = file_->metadata().find(key);
    return found == file_->metadata().end() ? std::string() : found->second;
  };
  if (find("format") != kFormat) {
    return InvalidArgument("not latents that msa export --latents wrote");
  }
  if (find("version") != kVersion) {
    return Unimplemented("version " + find("version") +
                         " of exported latents; this program reads " + kVersion);
  }
  encoding_.fingerprint = find("encoding");
  encoding_.config_json = find("config");
  return OkStatus();
}

Status LatentsFile::ReadLayout() {
  const SafeTensor* keys = file_->Find("r");
  const SafeTensor* latents = file_->Find("kv");
  if (keys == nullptr || keys->shape.size() != 2 || latents == nullptr ||
      latents->shape.size() != 5) {
    return DataLoss("tensors r [N, E] and kv [N, layers, 2, G, D] are missing");
  }
  num_rows_ = keys->shape[0];
  LatentLayout& layout = encoding_.layout;
  layout = {.key_dim = keys->shape[1],
            .layers = latents->shape[1],
            .kv_heads = latents->shape[3],
            .head_dim = latents->shape[4],
            .key_dtype = keys->dtype,
            .latent_dtype = latents->dtype};
  // Rows take bytes, so that there are no more of them than the file justifies.
  if (!IsInBounds(layout) || layout.key_dim == 0 || layout.latent_row_elements() == 0) {
    return DataLoss("tensors r and kv have shapes that no bank has");
  }
  const auto checksum = file_->metadata().find("checksum");
  if (checksum == file_->metadata().end() || checksum->second != EncodingChecksum(encoding_)) {
    return DataLoss("the encoding in its header has a wrong checksum");
  }
  return OkStatus();
}

Status LatentsFile::ReadTensors() {
  const SafeTensor* documents = file_->Find(kPassageParts[kDocument]);
  if (documents == nullptr || documents->shape.size() != 1) {
    return DataLoss("tensor document is missing");
  }
  const std::byte* next = documents->bytes.data();
  for (const SafeTensor& expected : TensorsOf(encoding_.layout, documents->shape[0], num_rows_)) {
    const SafeTensor* tensor = file_->Find(expected.name);
    if (tensor == nullptr || tensor->dtype != expected.dtype || tensor->shape != expected.shape ||
        tensor->bytes.data() != next) {
      return DataLoss("tensor " + expected.name + " is not what the others say");
    }
    parts_.push_back(tensor->bytes);
    next += tensor->bytes.size();
  }
  if (parts_.size() != file_->tensors().size() ||
      next != file_->bytes().data() + file_->bytes().size()) {
    return DataLoss("there is more than its tensors");
  }
  size_t part = kPassageParts.size();
  for (const LatentTensor& rows : LatentTensors(encoding_.layout, num_rows_)) {
    rows_.*rows.rows = parts_[part++];
  }
  return OkStatus();
}

Status LatentsFile::IndexPassages() {
  const int64_t passages = std::ssize(parts_[kDocument]) / int64_t{sizeof(int64_t)};
  first_row_.resize(static_cast<size_t>(passages));
  int64_t row = 0;
  for (int64_t i = 0; i < passages; ++i) {
    const int64_t chunks = Int64At(parts_[kChunks], i);
    if (chunks < 0 || chunks > UINT16_MAX || chunks > num_rows_ - row) {
      return DataLoss("passage " + std::to_string(i) + " has " + std::to_string(chunks) +
                      " latents, there are " + std::to_string(num_rows_) + " in all");
    }
    first_row_[static_cast<size_t>(i)] = row;
    row += chunks;
  }
  if (row != num_rows_) {
    return DataLoss("its passages have " + std::to_string(row) + " latents, there are " +
                    std::to_string(num_rows_));
  }
  by_tokens_.resize(static_cast<size_t>(passages));
  std::iota(by_tokens_.begin(), by_tokens_.end(), 0);
  std::ranges::sort(by_tokens_, [&](int64_t a, int64_t b) {
    const int order = Compare(DigestAt(parts_[kTokens], a), DigestAt(parts_[kTokens], b));
    return order != 0 ? order < 0 : a < b;
  });
  return OkStatus();
}

ExportedPassage LatentsFile::passage(int64_t index) const {
  ExportedPassage passage;
  passage.document = Int64At(parts_[kDocument], index);
  passage.passage = Int64At(parts_[kPassage], index);
  passage.chunks = Int64At(parts_[kChunks], index);
  passage.chunk_tokens = Int64At(parts_[kChunkTokens], index);
  std::ranges::copy(DigestAt(parts_[kTokens], index), passage.tokens.begin());
  return passage;
}

std::optional<int64_t> LatentsFile::Find(const Digest& tokens) const {
  const auto found = std::ranges::partition_point(by_tokens_, [&](int64_t index) {
    return Compare(DigestAt(parts_[kTokens], index), tokens) < 0;
  });
  if (found == by_tokens_.end() || Compare(DigestAt(parts_[kTokens], *found), tokens) != 0) {
    return std::nullopt;
  }
  return *found;
}

Result<LatentBlock> LatentsFile::Read(int64_t index) const {
  const ExportedPassage found = passage(index);
  const int64_t first = first_row_[static_cast<size_t>(index)];
  const int64_t end =
      index + 1 < num_passages() ? first_row_[static_cast<size_t>(index + 1)] : num_rows_;
  const LatentRowSizes sizes(encoding_.layout);
  LatentBlock block =
      CopyRows({end - first}, found.chunk_tokens, SliceRows(rows_, sizes, first, end - first));
  if (static_cast<int64_t>(PassageChecksum(found, RowsOf(block))) !=
      Int64At(parts_[kChecksum], index)) {
    return DataLoss(path() + ": passage " + std::to_string(index) + " of " +
                    std::to_string(num_passages()) + ": wrong checksum");
  }
  MSA_RETURN_IF_ERROR(CheckValues(found, encoding_.layout, RowsOf(block)).WithContext(path()));
  return block;
}

}  // namespace msa
