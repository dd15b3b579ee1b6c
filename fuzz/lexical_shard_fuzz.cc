// The image of a lexical shard whose blocks have the checksums that the catalog names.
#include <vector>

#include "msa/bank/blocks.h"
#include "msa/bank/lexical_shard.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const auto bytes = fuzz::Bytes(data, size);
  const TestMemoryFile file(AsChars(bytes));
  auto blocks = BlockChecksums(bytes);

  const fuzz::AllocationLimit limit(size);
  const auto shard = LexicalShard::Open(file.path(), static_cast<int64_t>(size), std::move(blocks));
  if (!shard.ok()) return 0;
  PassageSet visible;
  visible.AddRange(0, 8);
  LexicalRequest request;
  for (const char* word : {"fox", "quick", "letter"}) request.terms.push_back({word, word});
  request.weights = {1, 2, 3};
  request.visible = &visible;
  fuzz::Ignore((*shard)->CountVisible(visible));
  for (const QuestionTerm& term : request.terms) {
    fuzz::Ignore((*shard)->PassagesWith(term));
    fuzz::Ignore((*shard)->VisiblePassagesWith(term, visible));
  }
  LexicalTopK top(3);
  fuzz::Ignore((*shard)->Search(request, &top));
  request.candidates = {0, 2};
  fuzz::Ignore((*shard)->Search(request, &top));
  return 0;
}
