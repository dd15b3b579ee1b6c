// A golden bank, in plain or encrypted, whose catalog is sound SQLite with values in it that no
// writer would put there: the input says which cells of which rows change, and to what.
#include "edited_catalog.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  static const fuzz::GoldenBank plain;
  static const fuzz::GoldenBank encrypted(fuzz::GoldenBank::Kind::kEncrypted);
  FuzzedDataProvider input(data, size);
  const fuzz::GoldenBank& bank = input.ConsumeBool() ? plain : encrypted;
  bank.Renew();
  fuzz::EditedCatalog catalog(ReadFile(bank.file("catalog.sqlite")).value());
  if (input.ConsumeBool()) catalog.CountFar();
  while (input.remaining_bytes() > 0) catalog.Edit(&input);
  const std::string content = catalog.Content();
  bank.Replace("catalog.sqlite", content);
  const fuzz::AllocationLimit limit(content.size(), fuzz::AllocationLimit::kDatabaseBytes);
  bank.ReadEverything();
  return 0;
}
