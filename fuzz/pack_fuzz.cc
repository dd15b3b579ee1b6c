// A pack: its header, and what comes after that as one frame.
#include "msa/bank/pack.h"
#include "msa/base/hash.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const auto bytes = fuzz::Bytes(data, size);
  const fuzz::BorrowedFile file(bytes);
  // zstd holds up to 128 KiB in 4 bytes.
  const fuzz::AllocationLimit limit(size << 10);
  fuzz::Ignore(CheckFileHeader(file, FileKind::kPack, BankId{}, FileId{1}));
  if (size < static_cast<size_t>(kFileHeaderBytes)) return 0;
  const auto frame = bytes.subspan(kFileHeaderBytes);
  const FramePlace place = {FileId{1}, kFileHeaderBytes, static_cast<int64_t>(frame.size()),
                            Checksum64(frame)};
  fuzz::Ignore(ReadFrame(file, place, PassageId{7}));
  return 0;
}
