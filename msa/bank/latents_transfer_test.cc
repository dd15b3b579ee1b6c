#include "msa/bank/latents_transfer.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/latents_file_test_util.h"
#include "msa/base/test_support.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kChunkTokens = 64;
constexpr char kConfig[] = R"({"model_path":"m"})";
const LatentLayout kInt8{.key_dim = 16,
                         .layers = 2,
                         .kv_heads = 1,
                         .head_dim = 4,
                         .key_dtype = DType::kI8,
                         .latent_dtype = DType::kI8};
const LatentLayout kFloats{.key_dim = 4,
                           .layers = 1,
                           .kv_heads = 2,
                           .head_dim = 3,
                           .key_dtype = DType::kF32,
                           .latent_dtype = DType::kBF16};

std::string Key(int64_t document) { return "k" + std::to_string(document); }

// Of document `d`: d % 4 passages, which no other document has.
NewDocument MakeDistinct(int64_t d) {
  NewDocument document = MakeDocument(Key(d), "title", "some words of " + Key(d), d % 4);
  for (size_t i = 0; i < document.passages.size(); ++i) {
    auto& tokens = document.passages[i].tokens;
    tokens.assign(static_cast<size_t>(1 + (d * 37 + static_cast<int64_t>(i) * 61) % 150), 7);
    tokens[0] = static_cast<int32_t>(d * 10 + static_cast<int64_t>(i));
  }
  return document;
}

int64_t ChunksOf(const std::vector<int32_t>& tokens) {
  return (std::ssize(tokens) + kChunkTokens - 1) / kChunkTokens;
}

// Values that tell passages apart.
LatentBlock LatentsOf(const LatentLayout& layout, const std::vector<int32_t>& tokens) {
  return MakeLatents(layout, {ChunksOf(tokens)}, tokens[0] % 50);
}

void ExpectEqual(const LatentBlock& a, const LatentBlock& b) {
  EXPECT_EQ(a.chunks, b.chunks);
  EXPECT_EQ(a.chunk_tokens, b.chunk_tokens);
  EXPECT_EQ(a.keys, b.keys);
  EXPECT_EQ(a.key_scales, b.key_scales);
  EXPECT_EQ(a.latents, b.latents);
  EXPECT_EQ(a.latent_scales, b.latent_scales);
}

bool AreEqual(const LatentBlock& a, const LatentBlock& b) {
  return a.chunks == b.chunks && a.chunk_tokens == b.chunk_tokens && a.keys == b.keys &&
         a.key_scales == b.key_scales && a.latents == b.latents &&
         a.latent_scales == b.latent_scales;
}

class LatentsTransferTest : public testing::TestWithParam<LatentLayout> {
 protected:
  static constexpr int64_t kDocuments = 10;

  static EncodingInfo Encoding(const LatentLayout& layout) { return {{}, "ab12", kConfig, layout}; }

  std::unique_ptr<Bank> Create(const std::string& name, bool encrypt = false) {
    auto bank = Bank::Create(folder_ / name, {.encrypt = encrypt});
    EXPECT_TRUE(bank.ok()) << bank.status();
    return *std::move(bank);
  }

  static void AddDocuments(Bank& bank, const std::vector<int64_t>& documents) {
    const auto writer = bank.StartWrite();
    ASSERT_OK(writer);
    for (const int64_t d : documents) ASSERT_OK((*writer)->Add(MakeDistinct(d)));
    ASSERT_OK((*writer)->Commit(""));
  }

  // Gives passages that `wants` their latents.
  template <class Wants>
  void Encode(Bank& bank, Wants wants) {
    const auto writer = bank.StartWrite();
    ASSERT_OK(writer);
    const auto encoding = (*writer)->OpenEncoding(Encoding(GetParam()));
    ASSERT_OK(encoding);
    const auto snapshot = bank.Latest();
    ASSERT_OK(snapshot);
    const auto missing = (*snapshot)->FindUnencoded(*encoding);
    ASSERT_OK(missing);
    for (const auto& run : *missing) {
      const auto content = (*snapshot)->ReadContent(run.version);
      ASSERT_OK(content);
      for (int64_t i = run.first_passage; i < run.first_passage + run.num_passages; ++i) {
        const auto& tokens = content->tokens[static_cast<size_t>(i)];
        if (!wants(tokens[0])) continue;
        ASSERT_OK((*writer)->AddLatents(*encoding, run.version, i, LatentsOf(GetParam(), tokens)));
      }
    }
    ASSERT_OK((*writer)->CommitLatents());
  }

  // Documents 0 to 9, of which passages with an odd first token are not encoded.
  std::unique_ptr<Bank> MakeSource(bool encrypt = false) {
    auto bank = Create("source", encrypt);
    std::vector<int64_t> documents(kDocuments);
    for (int64_t d = 0; d < kDocuments; ++d) documents[static_cast<size_t>(d)] = d;
    AddDocuments(*bank, documents);
    Encode(*bank, [](int32_t token) { return token % 2 == 0; });
    return bank;
  }

  struct Started {
    std::shared_ptr<const Snapshot> snapshot;
    std::unique_ptr<LatentsExport> latents;
  };
  static Started Start(Bank& bank) {
    Started started{*bank.Latest(), nullptr};
    const auto encodings = started.snapshot->Encodings();
    started.latents = std::make_unique<LatentsExport>(*started.snapshot, encodings->back().info);
    EXPECT_TRUE(started.snapshot
                    ->ForEachDocument({},
                                      [&](const DocumentInfo& document) {
                                        EXPECT_TRUE(started.latents->Add(document.version).ok());
                                        return true;
                                      })
                    .ok());
    return started;
  }

  Status Export(Bank& bank) { return Start(bank).latents->Write(PosixFileSystem(), File(), {}); }

  std::string File() const { return folder_ / "latents.safetensors"; }

  Result<int64_t> Import(Bank& bank, int64_t chunk_tokens = kChunkTokens) {
    MSA_ASSIGN_OR_RETURN(const auto file, LatentsFile::Open(File()));
    MSA_ASSIGN_OR_RETURN(const auto writer, bank.StartWrite());
    MSA_ASSIGN_OR_RETURN(const EncodingId encoding, writer->OpenEncoding(file->encoding()));
    MSA_ASSIGN_OR_RETURN(const auto latest, bank.Latest());
    return ImportLatents(*file, *latest, *writer, encoding, chunk_tokens, {});
  }

  // Every passage that `wants` has the latents that were made for it, and no other has any.
  template <class Wants>
  void ExpectEncoded(Bank& bank, Wants wants) {
    const auto snapshot = bank.Latest();
    ASSERT_OK(snapshot);
    const EncodingId encoding = (*snapshot)->Encodings()->back().info.id;
    int64_t passages = 0;
    ASSERT_OK((*snapshot)->ForEachDocument({}, [&](const DocumentInfo& document) {
      const auto content = (*snapshot)->ReadContent(document.version);
      const auto counts = (*snapshot)->CountLatents(encoding, document.version);
      EXPECT_TRUE(content.ok() && counts.ok());
      for (size_t i = 0; i < content->tokens.size(); ++i) {
        const auto& tokens = content->tokens[i];
        const auto latents = (*snapshot)->ReadLatents(encoding, content->passages[i].id);
        EXPECT_EQ(latents.ok(), wants(tokens[0])) << tokens[0] << latents.status();
        EXPECT_EQ((*counts)[i], latents.ok() ? ChunksOf(tokens) : -1);
        if (latents.ok()) ExpectEqual(*latents, LatentsOf(GetParam(), tokens));
        ++passages;
      }
      return true;
    }));
    EXPECT_GT(passages, 0);
  }

  static bool IsEven(int32_t token) { return token % 2 == 0; }

  std::string Content() const { return *ReadFile(File()); }
  void Replace(std::string_view content) const {
    std::ofstream(File(), std::ios::binary | std::ios::trunc) << content;
  }

  // Offset of a tensor's bytes in the file.
  size_t OffsetOf(const char* tensor) const {
    const auto file = SafetensorsFile::Open(File());
    return static_cast<size_t>((*file)->Find(tensor)->bytes.data() - (*file)->bytes().data());
  }

  // The error of opening the file once the first bytes of a tensor are others, with checksums that
  // fit.
  template <class T>
  Status OpenForged(const char* tensor, T value) const {
    std::string content = Content();
    std::memcpy(content.data() + OffsetOf(tensor), &value, sizeof(value));
    const TestMemoryFile forged(SignLatents(content));
    return LatentsFile::Open(forged.path()).status();
  }

  const TemporaryFolder folder_;
  const KeysIn keys_{folder_};
};

INSTANTIATE_TEST_SUITE_P(Layouts, LatentsTransferTest, testing::Values(kInt8, kFloats));

TEST_P(LatentsTransferTest, ImportedLatentsEqualThoseExported) {
  const auto source = MakeSource();
  ExpectEncoded(*source, IsEven);
  ASSERT_OK(Export(*source));
  const auto file = LatentsFile::Open(File());
  ASSERT_OK(file);
  EXPECT_EQ((*file)->encoding().fingerprint, "ab12");
  EXPECT_EQ((*file)->encoding().config_json, kConfig);
  EXPECT_EQ((*file)->encoding().layout, GetParam());
  EXPECT_EQ((*file)->num_passages(), (*source->Latest())->Encodings()->back().encoded_passages);

  // The other way round, so that neither order nor ids tie latents to passages.
  const auto target = Create("target");
  AddDocuments(*target, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  const auto imported = Import(*target);
  ASSERT_OK(imported);
  EXPECT_EQ(*imported, (*file)->num_passages());
  ExpectEncoded(*target, IsEven);
  ASSERT_OK(target->Audit());
  EXPECT_EQ(*Import(*target), 0) << "nothing is missing that it has";
}

TEST_P(LatentsTransferTest, EncryptedBanksExportAndImport) {
  const auto source = MakeSource(/*encrypt=*/true);
  ASSERT_OK(Export(*source));
  const auto target = Create("target", /*encrypt=*/true);
  AddDocuments(*target, {1, 2, 3});
  ASSERT_OK(Import(*target));
  ExpectEncoded(*target, IsEven);
}

TEST_P(LatentsTransferTest, PassagesOfOtherTokensStayUnencoded) {
  ASSERT_OK(Export(*MakeSource()));
  const auto target = Create("target");
  AddDocuments(*target, {2, 3, 12, 23});  // the last two are not among them
  ASSERT_OK(Import(*target));
  ExpectEncoded(*target, [](int32_t token) { return token % 2 == 0 && token < 100; });
}

TEST_P(LatentsTransferTest, ChunksOfAnotherSizeAreNotTaken) {
  ASSERT_OK(Export(*MakeSource()));
  const auto target = Create("target");
  AddDocuments(*target, {2, 3});
  const auto imported = Import(*target, kChunkTokens / 2);
  ASSERT_OK(imported);
  EXPECT_EQ(*imported, 0);
}

TEST_P(LatentsTransferTest, OnlyWhatTheSnapshotSeesIsExported) {
  const auto source = MakeSource();
  {
    const auto writer = source->StartWrite();
    ASSERT_TRUE(*(*writer)->Remove(Key(2)));
    ASSERT_OK((*writer)->Commit(""));
  }
  ASSERT_OK(Export(*source));
  const auto target = Create("target");
  AddDocuments(*target, {2, 3});
  ASSERT_OK(Import(*target));
  ExpectEncoded(*target, [](int32_t token) { return token == 30 || token == 32; });
}

TEST_P(LatentsTransferTest, NoLatentsAreAFileToo) {
  const auto source = Create("source");
  AddDocuments(*source, {1});
  Encode(*source, [](int32_t) { return false; });
  ASSERT_OK(Export(*source));
  const auto file = LatentsFile::Open(File());
  ASSERT_OK(file);
  EXPECT_EQ((*file)->num_passages(), 0);
  EXPECT_FALSE((*file)->Find(Digest{}));
}

TEST_P(LatentsTransferTest, LatentsThatCameMeanwhileEndTheExport) {
  const auto source = MakeSource();
  Replace("before");
  const auto started = Start(*source);
  Encode(*source, [](int32_t) { return true; });
  const Status status = started.latents->Write(PosixFileSystem(), File(), {});
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
  EXPECT_EQ(Content(), "before");
  EXPECT_FALSE(PosixFileSystem().Exists(File() + ".part"));
}

TEST_P(LatentsTransferTest, AStoppedExportLeavesNothing) {
  const auto source = MakeSource();
  const std::atomic<bool> cancelled = true;
  const Status status =
      Start(*source).latents->Write(PosixFileSystem(), File(), {.cancelled = &cancelled});
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_FALSE(PosixFileSystem().Exists(File()));
  EXPECT_FALSE(PosixFileSystem().Exists(File() + ".part"));
}

TEST_P(LatentsTransferTest, DamagedLatentsAreNamedWithTheWayOn) {
  auto source = Create("source");
  AddDocuments(*source, {7});
  Encode(*source, [](int32_t) { return true; });
  source.reset();
  const std::string folder = folder_ / "source/segments";
  const auto names = PosixFileSystem().List(folder);
  ASSERT_OK(names);
  ASSERT_EQ(names->size(), 1u);
  const std::string tail = folder + "/" + names->front();
  std::string bytes = ReadFile(tail).value();
  bytes.back() ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), tail, bytes));
  const auto damaged = Bank::Open(folder_ / "source");
  ASSERT_OK(damaged);
  const Status status = Export(**damaged);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("passage 3 of 3 of k7 "));
  EXPECT_THAT(status.message(), HasSubstr("msa repair"));
  EXPECT_FALSE(PosixFileSystem().Exists(File()));
}

TEST_P(LatentsTransferTest, AFlippedByteIsFoundOrChangesNothing) {
  const auto source = Create("source");
  AddDocuments(*source, {2});
  Encode(*source, [](int32_t) { return true; });
  ASSERT_OK(Export(*source));
  const std::string whole = Content();
  const auto before = LatentsFile::Open(File());
  ASSERT_OK(before);
  std::vector<LatentBlock> blocks;
  for (int64_t i = 0; i < (*before)->num_passages(); ++i) blocks.push_back(*(*before)->Read(i));
  ASSERT_EQ(blocks.size(), 2u);
  const EncodingInfo encoding = (*before)->encoding();
  const size_t data = OffsetOf("document");
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char flip : {1, 0x20}) {
      std::string content = whole;
      content[at] = static_cast<char>(content[at] ^ flip);
      const TestMemoryFile flipped(content);
      const auto opened = LatentsFile::Open(flipped.path());
      if (!opened.ok()) continue;
      ASSERT_LT(at, data) << "a byte of the data";
      EXPECT_EQ((*opened)->encoding().fingerprint, encoding.fingerprint) << at;
      EXPECT_EQ((*opened)->encoding().config_json, encoding.config_json) << at;
      EXPECT_EQ((*opened)->encoding().layout, encoding.layout) << at;
      ASSERT_EQ((*opened)->num_passages(), std::ssize(blocks)) << at;
      for (size_t i = 0; i < blocks.size(); ++i) {
        EXPECT_TRUE(AreEqual(*(*opened)->Read(static_cast<int64_t>(i)), blocks[i])) << at;
      }
    }
  }
  for (size_t length = 0; length < whole.size(); length += 5) {
    const TestMemoryFile part(whole.substr(0, length));
    EXPECT_FALSE(LatentsFile::Open(part.path()).ok()) << length;
  }
  const TestMemoryFile longer(whole + '\0');
  EXPECT_EQ(LatentsFile::Open(longer.path()).status().code(), StatusCode::kDataLoss);
}

TEST_P(LatentsTransferTest, ForgedFilesAreRefused) {
  const auto source = Create("source");
  AddDocuments(*source, {2});
  Encode(*source, [](int32_t) { return true; });
  ASSERT_OK(Export(*source));
  EXPECT_EQ(SignLatents(Content()), Content());
  int64_t chunks = 0;
  std::memcpy(&chunks, Content().data() + OffsetOf("chunks"), sizeof(chunks));
  EXPECT_TRUE(OpenForged("chunks", chunks).ok());
  for (const int64_t wrong : {int64_t{-1}, int64_t{1} << 16, INT64_MAX, INT64_MIN, chunks + 1}) {
    EXPECT_EQ(OpenForged("chunks", wrong).code(), StatusCode::kDataLoss) << wrong;
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  if (GetParam() == kInt8) {
    for (const char* scale : {"r_scale", "kv_scale"}) {
      EXPECT_TRUE(OpenForged(scale, 0.25f).ok());
      for (const float wrong : {nan, infinity, -1.0f}) {
        EXPECT_THAT(OpenForged(scale, wrong).message(), HasSubstr("not finite")) << wrong;
      }
    }
    EXPECT_EQ(OpenForged("kv", int8_t{-128}).code(), StatusCode::kDataLoss);
  } else {
    for (const float wrong : {nan, infinity, -infinity}) {
      EXPECT_THAT(OpenForged("r", wrong).message(), HasSubstr("not finite")) << wrong;
      EXPECT_THAT(OpenForged("kv", ToBF16(wrong)).message(), HasSubstr("not finite")) << wrong;
    }
  }
}

TEST_P(LatentsTransferTest, ValuesThatAreNotFiniteAreNotExported) {
  const auto source = Create("source");
  AddDocuments(*source, {1});
  {
    const auto writer = source->StartWrite();
    const auto encoding = (*writer)->OpenEncoding(Encoding(GetParam()));
    LatentBlock block = MakeLatents(GetParam(), {1}, 1);
    if (block.key_scales.empty()) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      std::memcpy(block.keys.data(), &nan, sizeof(nan));
    } else {
      block.key_scales[0] = std::numeric_limits<float>::infinity();
    }
    ASSERT_OK((*writer)->AddLatents(*encoding, VersionId{1}, 0, block));
    ASSERT_OK((*writer)->CommitLatents());
  }
  EXPECT_EQ(Export(*source).code(), StatusCode::kDataLoss);
  EXPECT_FALSE(PosixFileSystem().Exists(File()));
}

TEST(LatentsFile, OtherFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder / "file.safetensors";
  const auto open = [&](std::span<const SafeTensor> tensors,
                        const std::map<std::string, std::string, std::less<>>& metadata) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << SafetensorsHeader(tensors, metadata);
    return LatentsFile::Open(path).status();
  };
  EXPECT_EQ(open({}, {}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open({}, {{"format", "msa-segment"}, {"version", "1"}}).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(open({}, {{"format", "msa-latents"}, {"version", "2"}}).code(),
            StatusCode::kUnimplemented);
  EXPECT_EQ(open({}, {{"format", "msa-latents"}, {"version", "1"}}).code(), StatusCode::kDataLoss);
  // Rows without bytes: as many as one likes to write.
  const SafeTensor none[] = {{"r", DType::kI8, {int64_t{1} << 60, 0}, {}},
                             {"kv", DType::kI8, {int64_t{1} << 60, 0, 2, 0, 0}, {}}};
  EXPECT_EQ(open(none, {{"format", "msa-latents"}, {"version", "1"}}).code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(LatentsFile::Open(folder / "absent").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace msa
