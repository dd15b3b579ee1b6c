// What a frame holds once it is decompressed.
#include <zstd.h>

#include <vector>

#include "msa/bank/pack.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  std::vector<std::byte> frame(ZSTD_compressBound(size));
  const size_t length = ZSTD_compress(frame.data(), frame.size(), data, size, 1);
  MSA_CHECK(!ZSTD_isError(length));

  const fuzz::AllocationLimit limit(size);
  const auto content = DecodeFrame(std::span(frame).first(length), PassageId{7});
  if (!content.ok()) return 0;
  MSA_CHECK(content->passages.size() == content->tokens.size());
  for (const PassageInfo& passage : content->passages) {
    MSA_CHECK(passage.begin >= 0 && passage.begin <= passage.end &&
              passage.end <= static_cast<int64_t>(content->text.size()));
  }
  return 0;
}
