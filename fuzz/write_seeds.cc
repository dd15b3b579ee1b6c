// Writes the seed corpora of the fuzzers, a folder each: msa_write_fuzz_seeds FOLDER
//
// They come from the golden bank and from small things of each kind, and hold what mutation would
// hardly find: deep nesting, frames that claim to be large.
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "msa/bank/bytes.h"
#include "msa/bank/certificate.h"
#include "msa/bank/golden_bank.h"
#include "msa/bank/keyring.h"
#include "msa/bank/latents_transfer.h"
#include "msa/bank/pack.h"
#include "support.h"

namespace {

using namespace msa;

class Seeds {
 public:
  explicit Seeds(std::string folder) : folder_(std::move(folder)) {}

  void Write(const std::string& reader, const std::string& name, std::string_view content) const {
    std::filesystem::create_directories(folder_ + "/" + reader);
    std::ofstream out(folder_ + "/" + reader + "/" + name, std::ios::binary);
    out << content;
    MSA_CHECK(out.flush().good());
  }

 private:
  std::string folder_;
};

std::string Nested(const std::string& before, const std::string& after) {
  constexpr size_t kDepth = 30000;
  return before + std::string(kDepth, '[') + std::string(kDepth, ']') + after;
}

void WriteBankFiles(const Seeds& seeds) {
  const fuzz::GoldenBank bank;
  const auto copy = [&](const std::string& reader, const std::string& file) {
    std::string name = file;
    std::ranges::replace(name, '/', '-');
    seeds.Write(reader, name, ReadFile(bank.file(file)).value());
  };
  copy("bank_json", "bank.json");
  copy("catalog", "catalog.sqlite");
  copy("head", "head");
  copy("lock", "lock");
  copy("lexical_shard", "lexical/00000002.fts");
  copy("lexical_shard", "lexical/00000003.fts");
  copy("segment", "segments/00000005.safetensors");
  copy("safetensors", "segments/00000005.safetensors");
  seeds.Write("bank_json", "deep", Nested("{\"format\":\"msa-bank\",\"version\":1,\"a\":", "}"));
  // A bank with a live WAL, as it lies while a writer has it open.
  const auto open = Bank::Open(bank.path());
  const auto writer = (*open)->StartWrite();
  MSA_CHECK((*writer)->Add(GoldenDocuments()[1]).ok() && (*writer)->Commit("back").ok());
  copy("wal", "catalog.sqlite-wal");
}

// Of both encodings of the golden bank.
void WriteLatents(const Seeds& seeds) {
  const fuzz::GoldenBank golden;
  const TestFolder folder;
  const auto bank = Bank::Open(golden.path()).value();
  const auto snapshot = bank->Latest().value();
  const std::vector<EncodingStats> encodings = snapshot->Encodings().value();
  for (const EncodingStats& encoding : encodings) {
    LatentsExport latents(*snapshot, encoding.info);
    const auto add = [&](const DocumentInfo& document) {
      MSA_CHECK(latents.Add(document.version).ok());
      return true;
    };
    MSA_CHECK(snapshot->ForEachDocument({}, add).ok());
    MSA_CHECK(latents.Write(PosixFileSystem(), folder.File("latents"), {}).ok());
    seeds.Write("latents", encoding.info.fingerprint, ReadFile(folder.File("latents")).value());
  }
}

void WriteTail(const Seeds& seeds) {
  ByteWriter tail;
  tail.PutBytes(FileHeader(FileKind::kTail, BankId{}, FileId{1}));
  tail.PutZeros(512);
  // What tail_fuzz.cc takes from the end, last first: layout, dtypes, position, one passage.
  tail.Put<uint16_t>(2);
  tail.Put<uint8_t>(1);
  tail.Put<int64_t>(kFileHeaderBytes);
  tail.Put<uint8_t>(0);
  tail.Put<uint8_t>(1);
  tail.PutBytes(AsBytes(std::string("\x04\x01\x02\x10\x00\x00", 6)));
  seeds.Write("tail", "one", AsChars(tail.bytes()));
}

void WriteFrames(const Seeds& seeds) {
  const auto header = FileHeader(FileKind::kPack, BankId{}, FileId{1});
  FrameEncoder encoder;
  for (const NewDocument& document : GoldenDocuments()) {
    const auto frame = encoder.Encode(document).value();
    const std::string content = std::string(AsChars(header)) + std::string(AsChars(frame));
    seeds.Write("pack", document.key, content);
    std::string plain(ZSTD_getFrameContentSize(frame.data(), frame.size()), '\0');
    MSA_CHECK(ZSTD_decompress(plain.data(), plain.size(), frame.data(), frame.size()) ==
              plain.size());
    seeds.Write("frame_content", document.key, plain);
  }
  // The magic number and a content size of 2^35 bytes.
  seeds.Write("pack", "large",
              std::string(AsChars(header)) +
                  std::string("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x08\x00\x00\x00", 13));
}

void WriteSigned(const Seeds& seeds) {
  const TestFolder folder;
  const std::string path = folder.File("key");
  const auto key = SigningKey::LoadOrCreate(path);
  MSA_CHECK(key.ok());
  seeds.Write("signing_key", "key", ReadFile(path).value());
  Certificate certificate;
  certificate.chain_length = 6;
  certificate.SignWith(*key);
  seeds.Write("certificate", "chain", certificate.Serialize());
  certificate.erased.resize(2);
  certificate.SignWith(*key);
  seeds.Write("certificate", "erased", certificate.Serialize());
  seeds.Write("certificate", "deep", Nested("{\"format\":\"msa-certificate\",\"version\":", "}"));
}

// As keyring_fuzz.cc opens them, with keys of both kinds and some that were destroyed: one within
// what a keyring reads at once, and one beyond it.
void WriteKeyrings(const Seeds& seeds) {
  for (const int keys : {5, 40}) {
    const TestFolder folder;
    const std::string path = folder.File("keys");
    const SecretKey master{Secret{}};
    MSA_CHECK(Keyring::Create(PosixFileSystem(), path, BankId{}, master).ok());
    const auto keyring = Keyring::Open(PosixFileSystem(), path, BankId{}, master).value();
    for (int i = 0; i < keys; ++i) {
      const auto kind = i % 3 == 2 ? Keyring::Kind::kShard : Keyring::Kind::kDocument;
      const RandomNumber number = MakeRandomNumber();
      MSA_CHECK(keyring->Add(kind, number).ok());
      if (i % 5 == 0) MSA_CHECK(keyring->Destroy(kind, number).ok());
    }
    MSA_CHECK(keyring->Sync().ok());
    seeds.Write("keyring", std::to_string(keys), ReadFile(path).value());
  }
}

// One key of each kind and two tensors.
void WriteGguf(const Seeds& seeds) {
  ByteWriter gguf;
  const auto put_text = [&](std::string_view text) { gguf.PutField(text); };
  gguf.PutBytes(AsBytes("GGUF"));
  gguf.Put<uint32_t>(3);
  gguf.Put<uint64_t>(2);
  gguf.Put<uint64_t>(3);
  put_text("general.architecture");
  gguf.Put<uint32_t>(8);
  put_text("llama");
  put_text("count");
  gguf.Put<uint32_t>(4);
  gguf.Put<uint32_t>(2);
  put_text("tokens");
  gguf.Put<uint32_t>(9);
  gguf.Put<uint32_t>(8);
  gguf.Put<uint64_t>(2);
  put_text("a");
  put_text("b");
  const auto put_tensor = [&](std::string_view name, uint64_t size, uint32_t type, uint64_t at) {
    put_text(name);
    gguf.Put<uint32_t>(1);
    gguf.Put<uint64_t>(size);
    gguf.Put<uint32_t>(type);
    gguf.Put<uint64_t>(at);
  };
  put_tensor("f32", 6, 0, 0);
  put_tensor("q8_0", 32, 8, 32);
  gguf.Align(32);
  gguf.PutZeros(32 + 34);
  seeds.Write("gguf", "small", AsChars(gguf.bytes()));
}

void WriteText(const Seeds& seeds) {
  seeds.Write("jsonl", "rows",
              "{\"id\": \"a\", \"title\": \"A\", \"text\": \"one \\u00e9\", \"tenant\": \"acme\"}\n"
              "{\"id\": 7, \"text\": \"two\", \"deep\": {\"a\": [1, 2.5e3, null, true]}}\r\n\n");
  seeds.Write("jsonl", "deep", Nested("{\"text\": \"a\", \"deep\": ", "}"));
  for (const char* reader : {"catalog_rows", "writer"}) {
    seeds.Write(reader, "one", std::string(24, '\x05'));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: msa_write_fuzz_seeds FOLDER\n");
    return 2;
  }
  const Seeds seeds(argv[1]);
  WriteBankFiles(seeds);
  WriteLatents(seeds);
  WriteTail(seeds);
  WriteFrames(seeds);
  WriteSigned(seeds);
  WriteKeyrings(seeds);
  WriteGguf(seeds);
  WriteText(seeds);
}
