// A bank whose catalog.sqlite-wal is the input: as it is, and with salts and checksums that fit,
// without which SQLite drops a frame unread.
#include <cstring>

#include "support.h"

namespace {

using namespace msa;

constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameHeaderBytes = 24;
constexpr size_t kSaltsAt = 16;      // in the header
constexpr size_t kFrameSaltsAt = 8;  // in a frame's
constexpr size_t kSaltsBytes = 8;
constexpr size_t kSumsBytes = 8;  // the last of a header
constexpr size_t kPageBytes = 4096;
// Checksums are over words of the byte order that the last bit says: big-endian.
constexpr unsigned char kStart[] = {0x37, 0x7f, 0x06, 0x83, 0x00, 0x2d,
                                    0xe2, 0x18, 0x00, 0x00, 0x10, 0x00};

// https://sqlite.org/fileformat2.html, section 4.2
class WalChecksum {
 public:
  void Add(const char* bytes, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
      first_ += Word(bytes + i) + second_;
      second_ += Word(bytes + i + 4) + first_;
    }
  }
  void WriteTo(char* out) const {
    for (const uint32_t sum : {first_, second_}) {
      const uint32_t big = __builtin_bswap32(sum);
      std::memcpy(out, &big, sizeof(big));
      out += sizeof(big);
    }
  }

 private:
  static uint32_t Word(const char* bytes) {
    uint32_t word = 0;
    std::memcpy(&word, bytes, sizeof(word));
    return __builtin_bswap32(word);
  }
  uint32_t first_ = 0;
  uint32_t second_ = 0;
};

std::string WithFittingChecksums(std::string wal) {
  if (wal.size() < kHeaderBytes) return wal;
  std::memcpy(wal.data(), kStart, sizeof(kStart));
  WalChecksum sum;
  sum.Add(wal.data(), kHeaderBytes - kSumsBytes);
  sum.WriteTo(wal.data() + kHeaderBytes - kSumsBytes);
  for (size_t at = kHeaderBytes; at + kFrameHeaderBytes + kPageBytes <= wal.size();
       at += kFrameHeaderBytes + kPageBytes) {
    char* frame = wal.data() + at;
    std::memcpy(frame + kFrameSaltsAt, wal.data() + kSaltsAt, kSaltsBytes);
    sum.Add(frame, kFrameSaltsAt);
    sum.Add(frame + kFrameHeaderBytes, kPageBytes);
    sum.WriteTo(frame + kFrameHeaderBytes - kSumsBytes);
  }
  return wal;
}

void Read(std::string_view wal) {
  static const fuzz::GoldenBank bank;
  static const std::string catalog = msa::ReadFile(bank.file("catalog.sqlite")).value();
  std::filesystem::remove(bank.file("catalog.sqlite-shm"));
  bank.Replace("catalog.sqlite", catalog);
  bank.Replace("catalog.sqlite-wal", wal);
  const fuzz::AllocationLimit limit(wal.size() + catalog.size(),
                                    fuzz::AllocationLimit::kDatabaseBytes);
  bank.ReadEverything();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content = fuzz::Chars(data, size);
  Read(content);
  Read(WithFittingChecksums(std::string(content)));
  return 0;
}
