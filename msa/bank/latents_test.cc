#include "msa/bank/latents.h"

#include <gmock/gmock.h>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

const LatentLayout kInt8{.key_dim = 32,
                         .layers = 2,
                         .kv_heads = 2,
                         .head_dim = 8,
                         .key_dtype = DType::kI8,
                         .latent_dtype = DType::kI8};
const LatentLayout kHalf{.key_dim = 16,
                         .layers = 3,
                         .kv_heads = 1,
                         .head_dim = 4,
                         .key_dtype = DType::kF32,
                         .latent_dtype = DType::kBF16};

int64_t Seed(int64_t version, int64_t passage) { return version * 10 + passage; }

// A bank of `documents` documents of three passages; their latents, in two layouts, were added one
// passage at a time, the last passages first, and sealed whenever a tail held `seal_bytes`.
class LatentsTest : public testing::TestWithParam<int64_t> {
 protected:
  static constexpr int64_t kDocuments = 12;

  void SetUp() override {
    path_ = folder_ / "bank";
    ASSERT_OK(Bank::Create(path_, {}));
    auto core = OpenCore(path_, PosixFileSystem());
    ASSERT_OK(core);
    auto writer = Writer::Start(*core, {}, GetParam());
    ASSERT_OK(writer);
    for (int64_t i = 0; i < kDocuments; ++i) {
      ASSERT_OK((*writer)->Add(MakeDocument("k" + std::to_string(i), "", "one two three", 3)));
    }
    ASSERT_OK((*writer)->Commit(""));
    for (const LatentLayout& layout : {kInt8, kHalf}) {
      const auto encoding = (*writer)->OpenEncoding({{}, HexOf(layout), "{}", layout});
      ASSERT_OK(encoding);
      encodings_.push_back(*encoding);
      for (int64_t passage = 2; passage >= 0; --passage) {
        for (int64_t version = 1; version <= kDocuments; ++version) {
          ASSERT_OK((*writer)->AddLatents(
              *encoding, VersionId{version}, passage,
              MakeLatents(layout, {ChunksOf(version, passage)}, Seed(version, passage))));
          if (version % 3 == 0) ASSERT_OK((*writer)->CommitLatents());
        }
      }
    }
    // One document dies, so that its rows lie unseen among the others.
    ASSERT_OK((*writer)->Add(MakeDocument("k5", "", "changed", 1)));
    ASSERT_OK((*writer)->Commit(""));
  }

  static std::string HexOf(const LatentLayout& layout) {
    return std::string("f") + std::to_string(layout.key_dim);
  }
  // 0 to 3; a passage may have no latents at all.
  static int64_t ChunksOf(int64_t version, int64_t passage) { return (version + passage) % 4; }

  std::vector<std::string> SegmentFiles() {
    return PosixFileSystem().List(path_ + "/segments").value();
  }
  int64_t CountFiles(const std::string& extension) {
    int64_t count = 0;
    for (const std::string& name : SegmentFiles()) count += name.ends_with(extension);
    return count;
  }

  TemporaryFolder folder_;
  std::string path_;
  std::vector<EncodingId> encodings_;
};

TEST_P(LatentsTest, KeysAndLatentsAreThoseWritten) {
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  const auto snapshot = (*bank)->Latest();
  ASSERT_OK(snapshot);
  const std::vector<LatentLayout> layouts = {kInt8, kHalf};
  for (size_t e = 0; e < layouts.size(); ++e) {
    const LatentLayout& layout = layouts[e];
    const auto runs = (*snapshot)->RoutingKeys(encodings_[e]);
    ASSERT_OK(runs);
    std::vector<int64_t> seen;
    for (const KeyRun& run : *runs) {
      EXPECT_TRUE(std::ranges::is_sorted(run.passages));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(run.keys) % 4, 0u);
      for (size_t i = 0; i < run.passages.size(); ++i) {
        const int64_t id = run.passages[i].value;
        const int64_t version = id / 3 + 1;
        const int64_t passage = id % 3;
        seen.push_back(id);
        const int64_t chunks = run.chunk_begin[i + 1] - run.chunk_begin[i];
        ASSERT_EQ(chunks, ChunksOf(version, passage));
        const LatentBlock expected = MakeLatents(layout, {chunks}, Seed(version, passage));
        const std::byte* keys = run.keys + run.chunk_begin[i] * layout.key_row_bytes();
        EXPECT_TRUE(std::equal(expected.keys.begin(), expected.keys.end(), keys));
        for (int64_t c = 0; layout.key_dtype == DType::kI8 && c < chunks; ++c) {
          EXPECT_EQ(run.scales[run.chunk_begin[i] + c], expected.key_scales[0]);
        }
        const auto block = (*snapshot)->ReadLatents(encodings_[e], PassageId{id});
        ASSERT_OK(block);
        EXPECT_EQ(block->chunks, expected.chunks);
        EXPECT_EQ(block->keys, expected.keys);
        EXPECT_EQ(block->key_scales, expected.key_scales);
        EXPECT_EQ(block->latents, expected.latents);
        EXPECT_EQ(block->latent_scales, expected.latent_scales);
      }
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen.size(), 33u) << "all but those of the document that was replaced";
    EXPECT_TRUE(std::ranges::adjacent_find(seen) == seen.end());
    const auto missing = (*snapshot)->FindUnencoded(encodings_[e]);
    ASSERT_OK(missing);
    ASSERT_EQ(missing->size(), 1u);
    EXPECT_EQ((*missing)[0].version.value, kDocuments + 1);
  }
}

TEST_P(LatentsTest, FlippedBytesOfSegmentsAndTailsAreDataLoss) {
  unsigned flips = 0;
  for (const std::string& name : SegmentFiles()) {
    const std::string path = path_ + "/segments/" + name;
    const std::string sound = ReadFile(path).value();
    for (size_t offset = 5; offset < sound.size(); offset += 97) {
      std::string damaged = sound;
      damaged[offset] ^= 0x20;
      ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, damaged));
      const auto bank = Bank::Open(path_);
      ASSERT_OK(bank);
      const auto snapshot = (*bank)->Latest();
      ASSERT_OK(snapshot);
      int failures = 0;
      for (const EncodingId encoding : encodings_) {
        for (PassageId passage{0}; passage.value < 3 * (kDocuments + 1); ++passage.value) {
          const auto block = (*snapshot)->ReadLatents(encoding, passage);
          if (block.ok() || block.status().code() == StatusCode::kNotFound) continue;
          ++failures;
          EXPECT_EQ(block.status().code(), StatusCode::kDataLoss) << block.status();
          EXPECT_THAT(block.status().message(), HasSubstr(name));
        }
      }
      // A byte of a block that only a dead version owns changes nothing that can be read.
      if (failures > 0) ++flips;
    }
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, sound));
  }
  EXPECT_GT(flips, 10u);
}

TEST_P(LatentsTest, TruncatedOrMissingFileIsNamedWhenTheBankOpens) {
  for (const std::string& name : SegmentFiles()) {
    const std::string path = path_ + "/segments/" + name;
    const std::string sound = ReadFile(path).value();
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, sound.substr(0, sound.size() - 1)));
    EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(Bank::Open(path_).status().message(), HasSubstr(name));
    ASSERT_OK(PosixFileSystem().Remove(path));
    EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kDataLoss);
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, sound));
  }
  ASSERT_OK(Bank::Open(path_));
}

TEST_P(LatentsTest, SealedTailsLeaveTheFolder) {
  const bool sealed = GetParam() < kSealBytes;
  EXPECT_EQ(CountFiles(".safetensors") > 0, sealed);
  EXPECT_LE(CountFiles(".tail"), 2);
}

INSTANTIATE_TEST_SUITE_P(SealBytes, LatentsTest,
                         testing::Values(int64_t{300}, int64_t{4000}, kSealBytes));

TEST(Segment, BytesAfterItsTensorsAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder / "segment";
  const LatentLayout layout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};
  const LatentBlock latents = MakeLatents(layout, {3}, 1);
  LatentPlace place;
  place.chunks = {3};
  place.num_chunks = 3;
  const auto sealed =
      WriteSegment(PosixFileSystem(), path, layout, {}, std::span(&place, 1),
                   [&](const LatentPlace&) -> Result<TailBlock> {
                     return TailBlock::Borrow({latents.keys, {}, latents.latents, {}});
                   });
  ASSERT_OK(sealed);
  ASSERT_OK(Segment::Open(path, layout, sealed->length, sealed->header_checksum));
  constexpr int64_t kMore = 100000;
  const auto file = PosixFileSystem().Open(path, OpenMode::kReadWrite);
  ASSERT_OK((*file)->WriteAt(sealed->length, std::vector<std::byte>(kMore)));
  const auto longer = Segment::Open(path, layout, sealed->length + kMore, sealed->header_checksum);
  EXPECT_THAT(longer.status().message(), HasSubstr("bytes after its tensors"));
}

TEST(LatentBlock, WrongSizesAreRefused) {
  LatentBlock block = MakeLatents(kInt8, {2, 1}, 1);
  EXPECT_TRUE(CheckLatentBlock(block, kInt8).ok());
  block.key_scales.pop_back();
  EXPECT_EQ(CheckLatentBlock(block, kInt8).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckLatentBlock(MakeLatents(kInt8, {70000}, 1), kInt8).code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace msa
