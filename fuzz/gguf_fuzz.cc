// A GGUF file, and the first values of its tensors.
#include <algorithm>
#include <vector>

#include "msa/base/gguf.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const TestMemoryFile stored(fuzz::Chars(data, size));
  const fuzz::AllocationLimit limit(size);
  const auto file = GgufFile::Open(stored.path());
  if (!file.ok()) return 0;
  for (const GgufTensor& tensor : (*file)->tensors()) {
    if (!IsReadableGgmlType(tensor.type) || tensor.bytes.empty()) continue;
    const auto bytes = static_cast<size_t>(GgmlBlockBytes(tensor.type));
    const auto elements = static_cast<size_t>(GgmlBlockElements(tensor.type));
    const size_t blocks = std::min<size_t>(tensor.bytes.size() / bytes, 16);
    std::vector<float> values(blocks * elements);
    fuzz::Ignore(DequantizeGgml(tensor.type, tensor.bytes.first(blocks * bytes), values));
  }
  return 0;
}
