// Writes the golden bank of this program's format version into a new folder:
//
//   msa_write_golden_bank FOLDER && tar -czf tests/data/bank-v1.tar.gz --sort=name -C FOLDER/..
//   $(basename FOLDER)
//
// Run once for each format version; the archive is then never written again.

#include <cstdio>
#include <stdexcept>

#include "msa/bank/core.h"
#include "msa/bank/golden_bank.h"
#include "msa/bank/writer.h"

namespace {

using namespace msa;

void Check(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

template <class T>
T Require(Result<T> result) {
  Check(result.status());
  return std::move(result).value();
}

// Latents of versions 1 and 3, which stay visible; `seal_bytes` decides where they end up.
void AddLatents(const std::string& path, const char* fingerprint, const LatentLayout& layout,
                int64_t seal_bytes) {
  auto writer = Require(Writer::Start(Require(OpenCore(path, PosixFileSystem())), {}, seal_bytes));
  const EncodingId encoding =
      Require(writer->OpenEncoding({{}, fingerprint, R"({"model":"golden"})", layout}));
  Check(writer->AddLatents(encoding, VersionId{1}, 0, GoldenLatents(layout, 1, 1)));
  Check(writer->AddLatents(encoding, VersionId{1}, 1, GoldenLatents(layout, 2, 2)));
  Check(writer->AddLatents(encoding, VersionId{3}, 0, GoldenLatents(layout, 1, 3)));
  Check(writer->CommitLatents());
}

void Write(const std::string& path) {
  const auto documents = GoldenDocuments();
  {
    auto bank = Require(Bank::Create(path, {.passage_tokens = 128, .chunk_tokens = 32}));
    auto writer = Require(bank->StartWrite());
    for (size_t i = 0; i < 3; ++i) Require(writer->Add(documents[i]));
    Require(writer->Commit("three documents"));
    Require(writer->Add(documents[3]));
    Require(writer->Commit("another letter"));
  }
  AddLatents(path, kGoldenSealed, GoldenLayout(DType::kI8), 1);
  AddLatents(path, kGoldenTail, GoldenLayout(DType::kF32), kSealBytes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: msa_write_golden_bank FOLDER\n");
    return 2;
  }
  try {
    Write(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
