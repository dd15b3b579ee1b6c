// The file `head`, as it is and with checksums and a bank that fit.
#include <algorithm>
#include <cstring>
#include <vector>

#include "msa/bank/head.h"
#include "support.h"

namespace {

constexpr size_t kSlotStride = 4096;
constexpr size_t kBankAt = 80;
constexpr size_t kChecksumAt = 120;

void SealSlot(std::span<std::byte> slot, const msa::BankId& bank) {
  std::ranges::copy(bank, slot.begin() + kBankAt);
  const uint64_t checksum = msa::Checksum64(slot.first(kChecksumAt));
  std::memcpy(slot.data() + kChecksumAt, &checksum, sizeof(checksum));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const auto bytes = fuzz::Bytes(data, size);
  const fuzz::AllocationLimit limit(size);
  fuzz::Ignore(ReadHead(fuzz::BorrowedFile(bytes), BankId{}));
  if (size < kHeadBytes) return 0;
  std::vector<std::byte> sealed(bytes.begin(), bytes.end());
  const BankId bank = {std::byte{1}};
  SealSlot(std::span(sealed).first(kSlotStride), bank);
  SealSlot(std::span(sealed).subspan(kSlotStride, kSlotStride), bank);
  fuzz::Ignore(ReadHead(fuzz::BorrowedFile(sealed), bank));
  return 0;
}
