// msa_gguf_dump FILE: every tensor of a GGUF file as its readers see it, for
// tests/gguf_parity_test.py: a line "name type dim dim …", then the elements as f32.
#include <iostream>
#include <vector>

#include "msa/base/gguf.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto file = msa::GgufFile::Open(argv[1]);
  if (!file.ok()) {
    std::cerr << file.status() << "\n";
    return 1;
  }
  for (const msa::GgufTensor& tensor : (*file)->tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.num_elements()));
    if (const auto status = msa::DequantizeGgml(tensor.type, tensor.bytes, values); !status.ok()) {
      std::cerr << tensor.name << ": " << status << "\n";
      return 1;
    }
    std::cout << tensor.name << " " << msa::GgmlTypeName(tensor.type);
    for (const int64_t size : tensor.shape) std::cout << " " << size;
    std::cout << "\n";
    std::cout.write(reinterpret_cast<const char*>(values.data()),
                    static_cast<std::streamsize>(values.size() * sizeof(float)));
  }
  return 0;
}
