// A lexical shard whose blocks have the checksums that the catalog names: the input is the image,
// and the file that holds it sealed. The image sealed by a writer answers as it does in plain, and
// a writer takes passages out of it.
#include <algorithm>
#include <utility>
#include <vector>

#include "msa/bank/blocks.h"
#include "msa/bank/lexical_shard.h"
#include "support.h"

namespace {

using namespace msa;

constexpr size_t kPageBytes = 4096;
constexpr size_t kNumberAt = 32;  // in the header of a sealed file

struct Answers {
  bool is_open = false;
  int64_t visible = 0;
  std::vector<int64_t> counts;                   // of terms; -1: an error
  std::vector<std::pair<double, int64_t>> hits;  // of both searches; none of one that failed

  friend bool operator==(const Answers&, const Answers&) = default;
};

Answers Ask(std::span<const std::byte> bytes, BankCipher* cipher) {
  const TestMemoryFile file(AsChars(bytes));
  auto blocks = BlockChecksums(bytes);
  const fuzz::AllocationLimit limit(bytes.size(), fuzz::AllocationLimit::kDatabaseBytes);
  Answers answers;
  const auto shard = LexicalShard::Open(file.path(), std::ssize(bytes), std::move(blocks), cipher);
  if (!shard.ok()) return answers;
  answers.is_open = true;
  PassageSet visible;
  visible.AddRange(0, 8);
  LexicalRequest request;
  for (const char* word : {"fox", "quick", "letter"}) request.terms.push_back({word, word});
  request.weights = {1, 2, 3};
  request.visible = &visible;
  answers.visible = (*shard)->CountVisible(visible).tokens;
  for (const QuestionTerm& term : request.terms) {
    for (const auto& count :
         {(*shard)->PassagesWith(term), (*shard)->VisiblePassagesWith(term, visible)}) {
      answers.counts.push_back(count.ok() ? *count : -1);
    }
  }
  for (const std::vector<size_t>& candidates : {std::vector<size_t>{}, {0, 2}}) {
    request.candidates = candidates;
    LexicalTopK top(3);
    if (!(*shard)->Search(request, &top).ok()) continue;
    for (const auto& hit : top.TakeSorted()) answers.hits.emplace_back(hit.score, hit.passage);
  }
  return answers;
}

void TakeOut(std::span<const std::byte> bytes) {
  const fuzz::AllocationLimit limit(bytes.size(), fuzz::AllocationLimit::kDatabaseBytes);
  const auto builder = LexicalShardBuilder::Reopen(bytes);
  if (!builder.ok()) return;
  const int64_t first = (*builder)->first_passage().value;
  for (const int64_t slot : {0, 2, 2, 9}) {
    fuzz::Ignore((*builder)->Remove(PassageId{first + slot}, "letter", "The quick fox."));
  }
  fuzz::Ignore((*builder)->Finish());
}

// Of bank 0.
BankCipher& Cipher() {
  static const TestFolder folder;
  static const std::unique_ptr<BankCipher> cipher = [] {
    ::setenv("MSA_KEYRINGS", folder.path().c_str(), 1);
    ::setenv("MSA_MASTER_KEY_FILE", folder.File("master.key").c_str(), 1);
    MSA_CHECK(BankCipher::Create(PosixFileSystem(), {folder.File("bank")}, BankId{}).ok());
    return BankCipher::Open(PosixFileSystem(), BankId{}).value();
  }();
  return *cipher;
}

std::vector<std::byte> Sealed(std::vector<std::byte> image) {
  // One shard at a time, so that the keyring stays small.
  MSA_CHECK(Cipher().keyring().DestroyShardsExcept({}).ok());
  image.resize((image.size() + kPageBytes - 1) / kPageBytes * kPageBytes);
  return SealShardImage(image, BankId{}, Cipher()).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = fuzz::Bytes(data, size);
  const Answers plain = Ask(bytes, nullptr);
  const std::vector<std::byte> sealed = Sealed({bytes.begin(), bytes.end()});
  const Answers answers = Ask(sealed, &Cipher());
  if (size % kPageBytes == 0) MSA_CHECK(answers == plain);

  TakeOut(bytes);

  // The input as a sealed file, of a shard that has a key.
  std::vector<std::byte> forged(bytes.begin(), bytes.end());
  if (forged.size() >= kNumberAt + sizeof(RandomNumber)) {
    std::copy_n(sealed.begin() + kNumberAt, sizeof(RandomNumber), forged.begin() + kNumberAt);
  }
  fuzz::Ignore(Ask(forged, &Cipher()));
  return 0;
}
