#include "msa/bank/shard_image.h"

#include <algorithm>
#include <array>

#include "msa/bank/bytes.h"
#include "msa/bank/sqlite.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr std::string_view kMagic = "MSAFTSX1";
constexpr uint32_t kFormat = 1;
constexpr size_t kHeaderBytes = 64;
constexpr size_t kPageBytes = kSqlitePageBytes;  // so that a page costs one message
constexpr size_t kSealedPageBytes = kPageBytes + Sealer::kExtraBytes;

Result<RandomNumber> ParseHeader(std::span<const std::byte> header) {
  ByteReader reader(header);
  const bool is_magic = AsChars(reader.GetBytes(kMagic.size())) == kMagic;
  const auto format = reader.Get<uint32_t>();
  if (is_magic && format > kFormat) {
    return Unimplemented("encrypted lexical shard, format " + std::to_string(format) +
                         ", this program reads " + std::to_string(kFormat));
  }
  reader.GetBytes(sizeof(uint32_t) + sizeof(BankId));
  RandomNumber number{};
  const auto bytes = reader.GetBytes(number.size());
  if (!is_magic || !reader.good()) return DataLoss("no encrypted lexical shard");
  std::ranges::copy(bytes, number.begin());
  return number;
}

}  // namespace

Result<std::shared_ptr<const ShardImage>> ShardImage::Open(const std::string& path, int64_t length,
                                                           std::vector<uint64_t> blocks,
                                                           BankCipher* cipher) {
  std::shared_ptr<ShardImage> image(new ShardImage);
  MSA_ASSIGN_OR_RETURN(image->mapping_, MappedFile::Open(path));
  const std::span<const std::byte> bytes = image->mapping_.bytes();
  if (static_cast<int64_t>(bytes.size()) != length || blocks.size() != NumBlocks(bytes.size())) {
    return DataLoss(path + " has " + std::to_string(bytes.size()) + " bytes, expected " +
                    std::to_string(length));
  }
  image->file_ = VerifiedBytes(bytes, std::move(blocks));
  image->size_ = bytes.size();
  if (cipher == nullptr) return std::shared_ptr<const ShardImage>(image);

  if (bytes.size() < kHeaderBytes) return DataLoss(path + " ends in its header");
  MSA_RETURN_IF_ERROR(image->file_.Verify(0, kHeaderBytes).WithContext(path));
  const auto number = ParseHeader(bytes.first(kHeaderBytes));
  if (!number.ok()) return number.status().WithContext(path);
  if ((bytes.size() - kHeaderBytes) % kSealedPageBytes != 0) {
    return DataLoss(path + ": its length is not one of whole pages");
  }
  image->size_ = (bytes.size() - kHeaderBytes) / kSealedPageBytes * kPageBytes;
  auto sealer = cipher->OfShard(*number);
  if (!sealer.ok()) return sealer.status().WithContext(path);
  image->sealer_ = *std::move(sealer);
  return std::shared_ptr<const ShardImage>(image);
}

Status ShardImage::Read(size_t offset, std::span<std::byte> out) const {
  MSA_CHECK(offset <= size_ && out.size() <= size_ - offset);
  if (!sealer_) {
    MSA_RETURN_IF_ERROR(file_.Verify(offset, out.size()));
    std::ranges::copy(file_.bytes().subspan(offset, out.size()), out.begin());
    return OkStatus();
  }
  while (!out.empty()) {
    const size_t page = offset / kPageBytes;
    const size_t begin = kHeaderBytes + page * kSealedPageBytes;
    MSA_RETURN_IF_ERROR(file_.Verify(begin, kSealedPageBytes));
    MSA_ASSIGN_OR_RETURN(const auto content,
                         sealer_->Open(CipherRole::kShardPage, 0, static_cast<int64_t>(page),
                                       file_.bytes().subspan(begin, kSealedPageBytes)));
    const size_t within = offset % kPageBytes;
    const size_t count = std::min(out.size(), kPageBytes - within);
    std::copy_n(content.begin() + static_cast<ptrdiff_t>(within), count, out.begin());
    out = out.subspan(count);
    offset += count;
  }
  return OkStatus();
}

Result<std::vector<std::byte>> ShardImage::ReadAll() const {
  std::vector<std::byte> bytes(size_);
  MSA_RETURN_IF_ERROR(Read(0, bytes));
  return bytes;
}

Result<std::vector<std::byte>> SealShardImage(std::span<const std::byte> image, const BankId& bank,
                                              BankCipher& cipher) {
  MSA_CHECK(image.size() % kPageBytes == 0);
  const RandomNumber number = MakeRandomNumber();
  MSA_ASSIGN_OR_RETURN(const SecretKey key, cipher.keyring().Add(Keyring::Kind::kShard, number));
  const Sealer sealer(key, bank, number);
  ByteWriter writer;
  writer.PutBytes(AsBytes(kMagic));
  writer.Put<uint32_t>(kFormat);
  writer.Put<uint32_t>(kHeaderBytes);
  writer.PutBytes(bank);
  writer.PutBytes(number);
  writer.PutZeros(8);
  writer.Put<uint64_t>(Checksum64(writer.bytes()));
  MSA_CHECK(writer.bytes().size() == kHeaderBytes);
  std::vector<std::byte> file(writer.bytes().begin(), writer.bytes().end());
  file.reserve(kHeaderBytes + image.size() / kPageBytes * kSealedPageBytes);
  for (size_t page = 0; page < image.size() / kPageBytes; ++page) {
    const auto sealed = sealer.Seal(CipherRole::kShardPage, 0, static_cast<int64_t>(page),
                                    image.subspan(page * kPageBytes, kPageBytes));
    file.insert(file.end(), sealed.begin(), sealed.end());
  }
  return file;
}

Result<RandomNumber> ReadShardNumber(FileSystem& fs, const std::string& path) {
  std::array<std::byte, kHeaderBytes> header;
  MSA_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kRead));
  MSA_RETURN_IF_ERROR(file->ReadAt(0, header));
  auto number = ParseHeader(header);
  if (!number.ok()) return number.status().WithContext(path);
  return number;
}

}  // namespace msa
