// The file of a signing key.
#include <sys/stat.h>

#include "msa/bank/signing.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  static const TestFolder folder;
  const std::string path = folder.Write("key", fuzz::Chars(data, size));
  MSA_CHECK(::chmod(path.c_str(), 0600) == 0);
  const fuzz::AllocationLimit limit(size);
  fuzz::Ignore(SigningKey::LoadOrCreate(path));
  return 0;
}
