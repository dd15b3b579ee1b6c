// Exported latents, as they are and with checksums that fit.
#include "msa/bank/latents_file.h"
#include "msa/bank/latents_file_test_util.h"
#include "support.h"

namespace {

using namespace msa;

void Read(std::string_view content) {
  const TestMemoryFile stored(content);
  const fuzz::AllocationLimit limit(content.size());
  const auto file = LatentsFile::Open(stored.path());
  if (!file.ok()) return;
  for (int64_t i = 0; i < (*file)->num_passages(); ++i) {
    const ExportedPassage passage = (*file)->passage(i);
    MSA_CHECK((*file)->Find(passage.tokens).has_value());
    const auto block = (*file)->Read(i);
    MSA_CHECK(block.ok());
    MSA_CHECK(CheckLatentBlock(*block, (*file)->encoding().layout).ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content = fuzz::Chars(data, size);
  Read(content);
  Read(SignLatents(std::string(content)));
  return 0;
}
