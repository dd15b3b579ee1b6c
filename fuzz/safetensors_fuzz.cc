// The header of a safetensors file: segments, models and adapters.
#include "msa/base/safetensors.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const TestMemoryFile stored(fuzz::Chars(data, size));
  const fuzz::AllocationLimit limit(size);
  const auto file = SafetensorsFile::Open(stored.path());
  if (!file.ok()) return 0;
  uint64_t sum = 0;
  for (const SafeTensor& tensor : (*file)->tensors()) {
    MSA_CHECK(tensor.num_elements() >= 0);
    for (const std::byte byte : tensor.bytes) sum += static_cast<uint64_t>(byte);
  }
  return sum == 1 ? -1 : 0;  // so that the bytes are read; libFuzzer passes -1 over
}
