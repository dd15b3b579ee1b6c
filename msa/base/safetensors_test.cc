#include "msa/base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "msa/base/test_allocations.h"
#include "msa/base/test_support.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string File(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
  return out.append(header).append(data);
}

Result<std::shared_ptr<const SafetensorsFile>> OpenContent(std::string_view content) {
  return SafetensorsFile::Open(TestMemoryFile(content).path());
}

StatusCode CodeOf(std::string_view header, std::string_view data = "12345678") {
  return OpenContent(File(header, data)).status().code();
}

std::string SmallFile() {
  return File(R"({"__metadata__":{"format":"pt"},)"
              R"("b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]},)"
              R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
              R"("none":{"dtype":"F16","shape":[0,4],"data_offsets":[11,11]}})",
              "abcdefghxyz");
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirData) {
  const auto file = *OpenContent(SmallFile());
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->tensors()[0].name, "a");
  EXPECT_EQ(file->tensors()[0].dtype, DType::kF32);
  EXPECT_THAT(file->tensors()[0].shape, ElementsAre(1, 2));
  EXPECT_EQ(AsChars(file->Find("a")->bytes), "abcdefgh");
  EXPECT_EQ(AsChars(file->Find("b")->bytes), "xyz");
  EXPECT_EQ(file->Find("none")->num_elements(), 0);
  EXPECT_EQ(file->Find("absent"), nullptr);
}

TEST(Safetensors, OurHeaderIsReadBackAndAlignsTheData) {
  const std::vector<SafeTensor> tensors = {{"r", DType::kBF16, {2, 3}, {}},
                                           {"kv \"quoted\"", DType::kI64, {1}, {}}};
  const std::string header = SafetensorsHeader(tensors, {{"format", "msa"}, {"version", "1"}});
  EXPECT_EQ(header.size() % 64, 0u);
  const auto file = *OpenContent(header + "123456789012" + "ABCDEFGH");
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("format", "msa"), Pair("version", "1")));
  EXPECT_EQ(AsChars(file->Find("r")->bytes), "123456789012");
  EXPECT_EQ(AsChars(file->Find("kv \"quoted\"")->bytes), "ABCDEFGH");
  EXPECT_THAT(file->Find("r")->shape, ElementsAre(2, 3));
}

TEST(Safetensors, AHeaderWithoutTensorsIsAFile) {
  const auto file = *OpenContent(SafetensorsHeader({}, {}));
  EXPECT_TRUE(file->tensors().empty());
}

TEST(Safetensors, EveryDtypeRoundTrips) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kI32,
                            DType::kI64, DType::kU8, DType::kU16}) {
    const std::vector<SafeTensor> tensors = {{"t", dtype, {2}, {}}};
    const auto file = *OpenContent(SafetensorsHeader(tensors, {}) + std::string(16, 'x'));
    EXPECT_EQ(file->Find("t")->dtype, dtype);
  }
}

TEST(Safetensors, ContradictionsAreDamage) {
  const auto tensor = [](std::string_view shape, std::string_view offsets) {
    return R"({"a":{"dtype":"F32","shape":)" + std::string(shape) + R"(,"data_offsets":)" +
           std::string(offsets) + "}}";
  };
  EXPECT_EQ(CodeOf(tensor("[2]", "[0,8]")), StatusCode::kOk);
  EXPECT_EQ(CodeOf(tensor("[2]", "[0,7]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("[3]", "[0,12]")), StatusCode::kDataLoss);  // past the end
  EXPECT_EQ(CodeOf(tensor("[2]", "[8,0]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("[2]", "[0,8,16]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("[-2]", "[0,8]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("[2.0]", "[0,8]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("2", "[0,8]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("[4611686018427387904,2]", "[0,0]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(tensor("[99999999999999999999]", "[0,8]")), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(R"({"a":{"dtype":"F32","shape":[2]}})"), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(R"({"a":5})"), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(R"({"__metadata__":{"k":1}})"), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(R"([1,2])"), StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf("{"), StatusCode::kDataLoss);
}

TEST(Safetensors, OverlapIsDamage) {
  EXPECT_EQ(CodeOf(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},)"
                   R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"),
            StatusCode::kDataLoss);
}

TEST(Safetensors, ADtypeWeDoNotReadIsNamed) {
  const auto file = OpenContent(
      File(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_EQ(file.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(file.status().message(), HasSubstr("F8_E4M3"));
}

// What a damaged file may give: a clean error, or tensors inside the file.
void ExpectSoundOrRefused(const std::string& content, const std::string& what) {
  const TestMemoryFile in_memory(content);
  const std::string path = in_memory.path();
  ResetLargestAllocation();
  const auto file = SafetensorsFile::Open(path);
  EXPECT_LE(LargestAllocation(), 16 * content.size() + 4096) << what;
  if (!file.ok()) {
    const StatusCode code = file.status().code();
    EXPECT_TRUE(code == StatusCode::kDataLoss || code == StatusCode::kUnimplemented)
        << what << ": " << file.status();
    EXPECT_THAT(file.status().message(), HasSubstr(path)) << what;
    return;
  }
  unsigned sum = 0;
  for (const SafeTensor& tensor : (*file)->tensors()) {
    EXPECT_EQ(static_cast<int64_t>(tensor.bytes.size()),
              tensor.num_elements() * DTypeSize(tensor.dtype));
    for (const std::byte b : tensor.bytes) sum += static_cast<unsigned>(b);
  }
  EXPECT_LE(sum, 255 * content.size());
}

TEST(SafetensorsCorruption, ATruncatedFileIsAlwaysAnError) {
  const std::string content = SmallFile();
  for (size_t length = 0; length < content.size(); ++length) {
    EXPECT_FALSE(OpenContent(content.substr(0, length)).ok()) << length;
    ExpectSoundOrRefused(content.substr(0, length), "cut to " + std::to_string(length));
  }
}

TEST(SafetensorsCorruption, EveryBitFlippedIsRefusedOrSound) {
  const std::string content = SmallFile();
  for (size_t bit = 0; bit < 8 * content.size(); ++bit) {
    std::string damaged = content;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    ExpectSoundOrRefused(damaged, "bit " + std::to_string(bit));
  }
}

TEST(SafetensorsCorruption, DeepNestingIsRefused) {
  for (const char* bracket : {"[", "{\"a\":"}) {
    std::string header;
    for (int i = 0; i < 100'000; ++i) header += bracket;
    EXPECT_EQ(CodeOf(header), StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace msa
