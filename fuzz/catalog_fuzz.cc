// A bank whose catalog.sqlite is the input.
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const msa::fuzz::GoldenBank bank;
  for (const char* name : {"catalog.sqlite-wal", "catalog.sqlite-shm"}) {
    std::filesystem::remove(bank.file(name));
  }
  bank.Replace("catalog.sqlite", msa::fuzz::Chars(data, size));
  const msa::fuzz::AllocationLimit limit(size, msa::fuzz::AllocationLimit::kDatabaseBytes);
  bank.ReadEverything();
  return 0;
}
