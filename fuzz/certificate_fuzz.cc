// A certificate.
#include "msa/bank/certificate.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const fuzz::AllocationLimit limit(size);
  const auto certificate = Certificate::Parse(fuzz::Chars(data, size));
  // What is accepted is written and read again alike.
  if (certificate.ok()) MSA_CHECK(Certificate::Parse(certificate->Serialize()).ok());
  return 0;
}
