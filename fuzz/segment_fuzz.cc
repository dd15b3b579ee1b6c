// A sealed segment of the golden layouts, as it is and with block checksums that fit.
#include <algorithm>
#include <cstring>

#include "msa/bank/golden_bank.h"
#include "msa/bank/latents.h"
#include "msa/base/hash.h"
#include "support.h"

namespace {

using namespace msa;

uint64_t HeaderBytes(std::string_view content) {
  uint64_t json_bytes = 0;
  if (content.size() < sizeof(json_bytes)) return content.size();
  std::memcpy(&json_bytes, content.data(), sizeof(json_bytes));
  return sizeof(json_bytes) + std::min<uint64_t>(json_bytes, content.size() - sizeof(json_bytes));
}

// Puts the checksums of the data where the header has room for as many.
std::string Sealed(std::string_view content) {
  constexpr std::string_view kName = "\"checksums\":\"";
  std::string sealed(content);
  const uint64_t data_at = HeaderBytes(content);
  const size_t name = sealed.find(kName);
  if (name >= data_at) return sealed;
  std::string hex;
  for (const uint64_t checksum : BlockChecksums(AsBytes(content.substr(data_at)))) {
    hex += HexEncode(std::as_bytes(std::span(&checksum, 1)));
  }
  const size_t digits = name + kName.size();
  if (digits + hex.size() <= data_at) sealed.replace(digits, hex.size(), hex);
  return sealed;
}

void Read(std::string_view content, DType dtype) {
  const TestMemoryFile file(content);
  const fuzz::AllocationLimit limit(content.size());
  const auto length = static_cast<int64_t>(content.size());
  const auto header = AsBytes(content.substr(0, HeaderBytes(content)));
  const auto segment = Segment::Open(file.path(), GoldenLayout(dtype), length, Checksum64(header));
  if (!segment.ok()) return;
  const int64_t rows = (*segment)->num_rows();
  fuzz::Ignore((*segment)->ReadRows(0, rows, true));
  for (const int64_t first : {int64_t{-1}, int64_t{0}, rows / 2, rows, INT64_MAX}) {
    for (const int64_t count : {int64_t{-1}, int64_t{1}, rows + 1, INT64_MAX}) {
      fuzz::Ignore((*segment)->ReadRows(first, count, false));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content = fuzz::Chars(data, size);
  for (const DType dtype : {DType::kI8, DType::kF32}) {
    Read(content, dtype);
    Read(Sealed(content), dtype);
  }
  return 0;
}
