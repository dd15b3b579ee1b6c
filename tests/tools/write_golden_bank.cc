// Writes the golden bank of this program's format version into a new folder:
//
//   msa_write_golden_bank FOLDER && tar -czf tests/data/bank-v1.tar.gz --sort=name -C FOLDER/..
//   $(basename FOLDER)
//
// With --encrypt the encrypted one, whose archive is bank-v1-encrypted.tar.gz: in FOLDER the bank
// is bank, its keyring lies in keyrings, and the master key is master.key.
// Run once for each format version; the archive is then never written again.

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

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

void Write(const std::string& path, bool encrypt = false) {
  const auto documents = GoldenDocuments();
  {
    auto bank = Require(
        Bank::Create(path, {.passage_tokens = 128, .chunk_tokens = 32, .encrypt = encrypt}));
    auto writer = Require(bank->StartWrite());
    for (size_t i = 0; i < 3; ++i) Require(writer->Add(documents[i]));
    Require(writer->Commit("three documents"));
    Require(writer->Add(documents[3]));
    Require(writer->Commit("another letter"));
  }
  AddLatents(path, kGoldenSealed, GoldenLayout(DType::kI8), 1);
  AddLatents(path, kGoldenTail, GoldenLayout(DType::kF32), kSealBytes);
}

// The keyring gets a key that is destroyed, too.
void WriteEncrypted(const std::string& folder) {
  ::setenv("MSA_KEYRINGS", (folder + "/keyrings").c_str(), 1);
  ::setenv("MSA_MASTER_KEY_FILE", (folder + "/master.key").c_str(), 1);
  ::unsetenv("MSA_MASTER_KEY");
  const std::string path = folder + "/bank";
  Check(PosixFileSystem().MakeDirectory(folder));
  Write(path, /*encrypt=*/true);
  auto bank = Require(Bank::Open(path));
  auto writer = Require(bank->StartWrite());
  Require(writer->Add(GoldenErased()));
  Require(writer->Commit("one too many"));
  const EraseReport report = Require(writer->Erase({{GoldenErased().key}, {}}, "erased"));
  if (!report.waits_for.empty()) throw std::runtime_error("waits for " + report.waits_for);
}

}  // namespace

int main(int argc, char** argv) {
  const bool encrypt = argc == 3 && std::string(argv[1]) == "--encrypt";
  if (argc != 2 && !encrypt) {
    std::fprintf(stderr, "usage: msa_write_golden_bank [--encrypt] FOLDER\n");
    return 2;
  }
  try {
    if (encrypt) {
      WriteEncrypted(argv[2]);
    } else {
      Write(argv[1]);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
