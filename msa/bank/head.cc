#include "msa/bank/head.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"

namespace msa {
namespace {

constexpr std::string_view kMagic = "MSAHEAD1";
constexpr int64_t kSlotBytes = 128;
constexpr int64_t kSlotStride = 4096;
constexpr size_t kReservedBytes = 24;

std::vector<std::byte> EncodeSlot(const BankId& bank, const Head& head) {
  ByteWriter writer;
  writer.PutBytes(AsBytes(kMagic));
  writer.Put<uint32_t>(kBankFormat);
  writer.Put<uint32_t>(kSlotBytes);
  writer.Put<int64_t>(head.commit_number);
  writer.Put<int64_t>(head.revision);
  writer.Put<int64_t>(head.chain_length);
  writer.PutBytes(head.chain_head);
  writer.Put<int64_t>(head.erase_epoch);
  writer.PutBytes(bank);
  writer.PutZeros(kReservedBytes);
  writer.Put<uint64_t>(Checksum64(writer.bytes()));
  MSA_CHECK(writer.bytes().size() == kSlotBytes);
  return {writer.bytes().begin(), writer.bytes().end()};
}

std::optional<Head> DecodeSlot(std::span<const std::byte> slot, const BankId& bank) {
  ByteReader reader(slot);
  if (AsChars(reader.GetBytes(kMagic.size())) != kMagic) return std::nullopt;
  if (reader.Get<uint32_t>() != kBankFormat) return std::nullopt;
  if (reader.Get<uint32_t>() != kSlotBytes) return std::nullopt;
  Head head;
  head.commit_number = reader.Get<int64_t>();
  head.revision = reader.Get<int64_t>();
  head.chain_length = reader.Get<int64_t>();
  std::ranges::copy(reader.GetBytes(head.chain_head.size()), head.chain_head.begin());
  head.erase_epoch = reader.Get<int64_t>();
  if (!std::ranges::equal(reader.GetBytes(bank.size()), bank)) return std::nullopt;
  // Encoding again also checks the reserved bytes and the checksum.
  const auto expected = EncodeSlot(bank, head);
  if (!std::ranges::equal(expected, slot)) return std::nullopt;
  return head;
}

}  // namespace

Result<Head> ReadHead(const File& file, const BankId& bank) {
  std::vector<std::byte> bytes(kHeadBytes);
  MSA_RETURN_IF_ERROR(file.ReadAt(0, bytes));
  std::optional<Head> best;
  for (int64_t slot = 0; slot < 2; ++slot) {
    const auto head = DecodeSlot(std::span(bytes).subspan(slot * kSlotStride, kSlotBytes), bank);
    if (head && head->commit_number % 2 == slot &&
        (!best || head->commit_number > best->commit_number)) {
      best = head;
    }
  }
  if (!best) return DataLoss("head: neither slot (at bytes 0 and 4096) is valid for this bank");
  return *best;
}

Status WriteHead(File& file, const BankId& bank, const Head& head) {
  MSA_RETURN_IF_ERROR(file.WriteAt(head.commit_number % 2 * kSlotStride, EncodeSlot(bank, head)));
  return file.Sync();
}

Status InitializeHead(File& file, const BankId& bank, const Head& head) {
  MSA_RETURN_IF_ERROR(file.Truncate(0));
  MSA_RETURN_IF_ERROR(file.WriteAt(0, std::vector<std::byte>(kHeadBytes)));
  return WriteHead(file, bank, head);
}

Status ReplaceHead(FileSystem& fs, const BankLayout& layout, const BankId& bank, const Head& head) {
  const std::string temporary = layout.head() + ".tmp";
  MSA_ASSIGN_OR_RETURN(auto file, fs.Open(temporary, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(InitializeHead(*file, bank, head));
  MSA_RETURN_IF_ERROR(file->Close());
  MSA_RETURN_IF_ERROR(fs.Rename(temporary, layout.head()));
  return fs.SyncDirectory(layout.root);
}

}  // namespace msa
