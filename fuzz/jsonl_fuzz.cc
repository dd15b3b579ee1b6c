// Rows of JSON Lines, as `msa add` reads them.
#include "msa/text/input.h"
#include "msa/text/jsonl.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const std::string_view text = fuzz::Chars(data, size);
  static const TestFolder folder;
  const std::string path = folder.Write("rows.jsonl", text);
  const fuzz::AllocationLimit limit(size);
  fuzz::Ignore(ParseJsonRow(text));
  constexpr int64_t kMaxRowBytes = 1000;
  auto input = Input::Open(path);
  MSA_CHECK(input.ok());
  fuzz::Ignore(ReadJsonl(&*input, kMaxRowBytes, [](const JsonLine&) { return true; }));
  return 0;
}
