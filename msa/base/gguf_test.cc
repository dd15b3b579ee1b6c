#include "msa/base/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "msa/base/dtype.h"
#include "msa/base/test_allocations.h"
#include "msa/base/test_support.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Writes GGUF by hand. Equality with the real writer is tested in tests/gguf_parity_test.py.
class Bytes {
 public:
  template <class T>
  Bytes& Put(T value) {
    content_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& Text(std::string_view text) {
    Put<uint64_t>(text.size());
    content_ += text;
    return *this;
  }
  Bytes& Raw(std::string_view text) {
    content_ += text;
    return *this;
  }
  Bytes& Align(size_t alignment) {
    content_.resize((content_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  Bytes& Header(uint64_t tensors, uint64_t metadata, uint32_t version = 3) {
    return Raw("GGUF").Put(version).Put(tensors).Put(metadata);
  }
  const std::string& content() const { return content_; }

 private:
  std::string content_;
};

enum : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// Ten keys of all kinds, an F32 tensor [2, 3] and a Q8_0 tensor [32].
std::string SmallFile(uint32_t version = 3) {
  Bytes b;
  b.Header(2, 10, version);
  b.Text("u8").Put<uint32_t>(kU8).Put<uint8_t>(200);
  b.Text("i16").Put<uint32_t>(kI16).Put<int16_t>(-300);
  b.Text("u64").Put<uint32_t>(kU64).Put<uint64_t>(uint64_t{1} << 40);
  b.Text("f32").Put<uint32_t>(kF32).Put<float>(0.5f);
  b.Text("f64").Put<uint32_t>(kF64).Put<double>(0.1);
  b.Text("yes").Put<uint32_t>(kBool).Put<uint8_t>(1);
  b.Text("name").Put<uint32_t>(kString).Text("tiny");
  b.Text("words").Put<uint32_t>(kArray).Put<uint32_t>(kString).Put<uint64_t>(2).Text("a").Text("");
  b.Text("ints").Put<uint32_t>(kArray).Put<uint32_t>(kI8).Put<uint64_t>(3);
  b.Put<int8_t>(1).Put<int8_t>(-1).Put<int8_t>(7);
  b.Text("floats").Put<uint32_t>(kArray).Put<uint32_t>(kF32).Put<uint64_t>(1).Put(1.5f);
  b.Text("matrix").Put<uint32_t>(2).Put<uint64_t>(3).Put<uint64_t>(2);
  b.Put<uint32_t>(0).Put<uint64_t>(0);  // F32 at 0
  b.Text("quantised").Put<uint32_t>(1).Put<uint64_t>(32);
  b.Put<uint32_t>(8).Put<uint64_t>(32);  // Q8_0 at 32
  b.Align(32);
  for (int i = 0; i < 6; ++i) b.Put(static_cast<float>(i));
  b.Align(32);
  b.Put(ToF16(0.5f).bits);
  for (int i = 0; i < 32; ++i) b.Put(static_cast<int8_t>(i - 16));
  return b.content();
}

Result<std::shared_ptr<const GgufFile>> OpenContent(std::string_view content) {
  return GgufFile::Open(TestMemoryFile(content).path());
}

TEST(Gguf, ReadsMetadataOfEveryKind) {
  for (const uint32_t version : {2u, 3u}) {
    const auto file = *OpenContent(SmallFile(version));
    EXPECT_EQ(*file->GetInt("u8"), 200);
    EXPECT_EQ(*file->GetInt("i16"), -300);
    EXPECT_EQ(*file->GetInt("u64"), int64_t{1} << 40);
    EXPECT_EQ(*file->GetFloat("f32"), 0.5);
    EXPECT_EQ(*file->GetFloat("f64"), 0.1);
    EXPECT_EQ(*file->GetFloat("u8"), 200.0);
    EXPECT_EQ(std::get<bool>(file->metadata().find("yes")->second), true);
    EXPECT_EQ(*file->GetString("name"), "tiny");
    EXPECT_THAT(**file->GetStrings("words"), ElementsAre("a", ""));
    EXPECT_THAT(**file->GetInts("ints"), ElementsAre(1, -1, 7));
    EXPECT_THAT(std::get<GgufFloats>(file->metadata().find("floats")->second), ElementsAre(1.5));
  }
}

TEST(Gguf, ReadsTensorsWithTheOutermostDimensionFirst) {
  const auto file = *OpenContent(SmallFile());
  ASSERT_EQ(file->tensors().size(), 2u);
  const GgufTensor* matrix = file->Find("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_THAT(matrix->shape, ElementsAre(2, 3));
  std::vector<float> values(6);
  ASSERT_TRUE(DequantizeGgml(matrix->type, matrix->bytes, values).ok());
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3, 4, 5));
  const GgufTensor* quantised = file->Find("quantised");
  values.resize(32);
  ASSERT_TRUE(DequantizeGgml(quantised->type, quantised->bytes, values).ok());
  EXPECT_EQ(values[0], -8.0f);
  EXPECT_EQ(values[31], 7.5f);
  EXPECT_EQ(file->Find("absent"), nullptr);
}

TEST(Gguf, AskingForAnotherTypeNamesKeyAndFile) {
  const auto file = *OpenContent(SmallFile());
  EXPECT_EQ(file->GetInt("absent").status().code(), StatusCode::kNotFound);
  const Status status = file->GetInt("name").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(file->path() + ": metadata key name is not an integer"));
  EXPECT_EQ(file->GetStrings("ints").status().code(), StatusCode::kInvalidArgument);
}

TEST(Gguf, OtherFilesAreRefusedByTheirKind) {
  EXPECT_EQ(OpenContent("").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenContent("GGU").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenContent("PK\3\4 and more").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenContent(Bytes().Header(0, 0, 1).content()).status().code(),
            StatusCode::kUnimplemented);
  const Status swapped = OpenContent(Bytes().Header(0, 0, 0x03000000).content()).status();
  EXPECT_EQ(swapped.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(swapped.message(), HasSubstr("big-endian"));
}

TEST(Gguf, ATensorOfAnUnknownTypeIsListedAndFailsWhenExpanded) {
  Bytes b;
  b.Header(1, 0).Text("t").Put<uint32_t>(1).Put<uint64_t>(32).Put<uint32_t>(17);
  b.Put<uint64_t>(0).Align(32).Put<uint64_t>(0);
  const auto file = *OpenContent(b.content());
  const GgufTensor& tensor = file->tensors()[0];
  EXPECT_EQ(GgmlTypeName(tensor.type), "type 17");
  std::vector<float> values(32);
  const Status status = DequantizeGgml(tensor.type, tensor.bytes, values);
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("Q4_K"));
}

TEST(Gguf, TheFilesOwnAlignmentIsUsed) {
  Bytes b;
  b.Header(1, 1).Text("general.alignment").Put<uint32_t>(kU32).Put<uint32_t>(128);
  b.Text("t").Put<uint32_t>(1).Put<uint64_t>(1).Put<uint32_t>(0).Put<uint64_t>(0);
  b.Align(128).Put(42.0f);
  const auto file = *OpenContent(b.content());
  float value = 0;
  ASSERT_TRUE(DequantizeGgml(GgmlType::kF32, file->tensors()[0].bytes, {&value, 1}).ok());
  EXPECT_EQ(value, 42.0f);
}

// One tensor of the given dimensions, type and offset before 64 bytes of data.
Status OpenTensor(std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
  Bytes b;
  b.Header(1, 0).Text("t").Put(static_cast<uint32_t>(dims.size()));
  for (const uint64_t d : dims) b.Put(d);
  b.Put(type).Put(offset).Align(32).Raw(std::string(64, '\0'));
  return OpenContent(b.content()).status();
}

TEST(Gguf, TensorsMustLieInsideTheFile) {
  constexpr uint32_t kTypeF32 = 0, kTypeQ8_0 = 8;
  EXPECT_TRUE(OpenTensor({16}, kTypeF32, 0).ok());
  EXPECT_TRUE(OpenTensor({0, 5}, kTypeF32, 64).ok());
  EXPECT_EQ(OpenTensor({17}, kTypeF32, 0).code(), StatusCode::kDataLoss);
  EXPECT_EQ(OpenTensor({16}, kTypeF32, 1).code(), StatusCode::kDataLoss);
  EXPECT_EQ(OpenTensor({1}, kTypeF32, ~uint64_t{0}).code(), StatusCode::kDataLoss);
  EXPECT_EQ(OpenTensor({uint64_t{1} << 62}, kTypeF32, 0).code(), StatusCode::kDataLoss);
  EXPECT_EQ(OpenTensor({uint64_t{1} << 32, uint64_t{1} << 32}, kTypeF32, 0).code(),
            StatusCode::kDataLoss);
  EXPECT_EQ(OpenTensor({1, 1, 1, 1, 1}, kTypeF32, 0).code(), StatusCode::kDataLoss);
  EXPECT_EQ(OpenTensor({16}, kTypeQ8_0, 0).code(), StatusCode::kDataLoss);  // half a block
}

TEST(Gguf, NamesThatComeTwiceAreDamage) {
  Bytes keys;
  keys.Header(0, 2);
  for (int i = 0; i < 2; ++i) keys.Text("k").Put<uint32_t>(kU8).Put<uint8_t>(1);
  EXPECT_EQ(OpenContent(keys.content()).status().code(), StatusCode::kDataLoss);
  Bytes tensors;
  tensors.Header(2, 0);
  for (int i = 0; i < 2; ++i) {
    tensors.Text("t").Put<uint32_t>(0).Put<uint32_t>(0).Put<uint64_t>(0);
  }
  tensors.Align(32).Put(1.0f);
  EXPECT_EQ(OpenContent(tensors.content()).status().code(), StatusCode::kDataLoss);
}

// What a damaged file may give: a clean error, or a file whose parts can all be used.
void ExpectSoundOrRefused(const std::string& content, const std::string& what) {
  const TestMemoryFile in_memory(content);
  const std::string path = in_memory.path();
  ResetLargestAllocation();
  const auto file = GgufFile::Open(path);
  // A string of 8 bytes in the file takes 32 in memory, a tensor of 24 about 96; error messages and
  // the like are small.
  EXPECT_LE(LargestAllocation(), 8 * content.size() + 4096) << what;
  if (!file.ok()) {
    const StatusCode code = file.status().code();
    EXPECT_TRUE(code == StatusCode::kInvalidArgument || code == StatusCode::kDataLoss ||
                code == StatusCode::kUnimplemented)
        << what << ": " << file.status();
    EXPECT_THAT(file.status().message(), HasSubstr(path)) << what;
    return;
  }
  for (const GgufTensor& tensor : (*file)->tensors()) {
    if (!IsReadableGgmlType(tensor.type)) continue;
    std::vector<float> values(static_cast<size_t>(tensor.num_elements()));
    EXPECT_TRUE(DequantizeGgml(tensor.type, tensor.bytes, values).ok()) << what;
  }
}

TEST(GgufCorruption, ATruncatedFileIsAlwaysAnError) {
  const std::string content = SmallFile();
  for (size_t length = 0; length < content.size(); ++length) {
    EXPECT_FALSE(OpenContent(content.substr(0, length)).ok()) << length;
    ExpectSoundOrRefused(content.substr(0, length), "cut to " + std::to_string(length));
  }
}

TEST(GgufCorruption, EveryBitFlippedIsRefusedOrSound) {
  const std::string content = SmallFile();
  for (size_t bit = 0; bit < 8 * content.size(); ++bit) {
    std::string damaged = content;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    ExpectSoundOrRefused(damaged, "bit " + std::to_string(bit));
  }
}

TEST(GgufCorruption, HugeCountsAllocateNothing) {
  const std::string content = SmallFile();
  for (size_t at = 0; at + 8 <= content.size(); ++at) {
    for (const uint64_t value : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 40}) {
      std::string damaged = content;
      std::memcpy(damaged.data() + at, &value, sizeof(value));
      ExpectSoundOrRefused(damaged, "8 bytes at " + std::to_string(at));
    }
  }
}

// Read outermost first, the other dimensions multiply beyond 2^63 before the empty one comes.
TEST(GgufCorruption, AnEmptyTensorMayHaveAnyOtherDimension) {
  GgufTensor tensor;
  tensor.shape = {int64_t{1} << 40, int64_t{1} << 40, 0};
  EXPECT_EQ(tensor.num_elements(), 0);
}

TEST(GgufCorruption, RandomBytesBehindTheMagicAreRefusedOrSound) {
  constexpr uint32_t kSeed = 5;
  std::mt19937 rng(kSeed);
  for (int i = 0; i < 2000; ++i) {
    Bytes b;
    b.Header(rng() % 3, rng() % 4);
    for (int j = 0; j < 40; ++j) b.Put(static_cast<uint8_t>(rng() % 4 == 0 ? rng() : 0));
    ExpectSoundOrRefused(b.content(), "seed 5, file " + std::to_string(i));
  }
}

TEST(DequantizeGgml, SizesMustMatch) {
  std::vector<std::byte> bytes(36);
  std::vector<float> values(32);
  for (const size_t n : {0, 17, 19, 36}) {
    EXPECT_EQ(DequantizeGgml(GgmlType::kQ4_0, std::span(bytes).first(n), values).code(),
              StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(DequantizeGgml(GgmlType::kQ4_0, std::span(bytes).first(18), values).ok());
  EXPECT_TRUE(DequantizeGgml(GgmlType::kQ4_0, {}, {}).ok());
}

}  // namespace
}  // namespace msa
