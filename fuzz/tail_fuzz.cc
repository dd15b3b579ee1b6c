// Blocks of a tail: any bytes, under any row of `places` and any layout that the catalog's reader
// would let pass. The row is taken from the end of the input.
#include <fuzzer/FuzzedDataProvider.h>

#include <vector>

#include "msa/bank/latents.h"
#include "msa/base/hash.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  FuzzedDataProvider input(data, size);
  LatentLayout layout;
  layout.key_dim = input.ConsumeIntegralInRange<int64_t>(0, 1 << 20);
  layout.layers = input.ConsumeIntegralInRange<int64_t>(0, 1 << 7);
  layout.kv_heads = input.ConsumeIntegralInRange<int64_t>(0, 1 << 6);
  layout.head_dim = input.ConsumeIntegralInRange<int64_t>(0, 1 << 6);
  layout.key_dtype = input.ConsumeBool() ? DType::kI8 : DType::kF32;
  layout.latent_dtype = input.ConsumeBool() ? DType::kI8 : DType::kF32;
  LatentPlace place;
  place.position = input.ConsumeIntegral<int64_t>();
  const auto passages = input.ConsumeIntegralInRange<size_t>(0, 64);
  for (size_t i = 0; i < passages; ++i) {
    place.chunks.push_back(input.ConsumeIntegral<uint16_t>());
    place.num_chunks += place.chunks.back();
  }
  const auto bytes = input.ConsumeRemainingBytes<std::byte>();
  const fuzz::BorrowedFile file(bytes);
  const LatentRowSizes sizes(layout);

  const fuzz::AllocationLimit limit(size);
  fuzz::Ignore(CheckFileHeader(file, FileKind::kTail, BankId{}, FileId{1}));
  fuzz::Ignore(TailBlock::Read(file, sizes, place));
  // Once more with the checksum that fits, where the block lies in the file.
  const int64_t length = TailBlockBytes(sizes, place.num_chunks);
  const auto file_bytes = static_cast<int64_t>(bytes.size());
  if (length > file_bytes || place.position < kFileHeaderBytes ||
      place.position > file_bytes - length) {
    return 0;
  }
  place.checksum = Checksum64(
      std::span(bytes).subspan(static_cast<size_t>(place.position), static_cast<size_t>(length)));
  const auto block = TailBlock::Read(file, sizes, place);
  MSA_CHECK(block.ok());
  const LatentRows rows = SliceRows(block->rows(), sizes, 0, place.num_chunks);
  MSA_CHECK(static_cast<int64_t>(rows.latents.size()) == place.num_chunks * sizes.latent);
  return 0;
}
