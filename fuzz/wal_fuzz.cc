// A bank whose catalog.sqlite-wal is the input.
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  static const fuzz::GoldenBank bank;
  static const std::string catalog = ReadFile(bank.file("catalog.sqlite")).value();
  std::filesystem::remove(bank.file("catalog.sqlite-shm"));
  bank.Replace("catalog.sqlite", catalog);
  bank.Replace("catalog.sqlite-wal", fuzz::Chars(data, size));
  const fuzz::AllocationLimit limit(size + catalog.size(), fuzz::AllocationLimit::kDatabaseBytes);
  bank.ReadEverything();
  return 0;
}
