#include "msa/model/weight_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "msa/model/test_model.h"

namespace msa {
namespace {

using testing::HasSubstr;
using testing_model::FreshFolder;
using testing_model::TestModel;
using testing_model::WriteSafetensors;

constexpr const char* kDown = "model.layers.1.mlp.down_proj.weight";

TEST(WeightSource, ReadsWhatTheFileHolds) {
  const TestModel model = TestModel::Random("qwen3", 1);
  const auto source = WeightSource::Open(model.Write());
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<float> down(64 * 96);
  ASSERT_TRUE((*source)->Read({Weight::kDown, 1}, down).ok());
  EXPECT_EQ(down, model.tensors.at(kDown).values);
  EXPECT_EQ((*source)->matrix_bits(), 32);
  EXPECT_FALSE((*source)->ReadBlocks({Weight::kDown, 1}).has_value());
  EXPECT_GT((*source)->file_bytes(), (*source)->config().num_parameters() * 4);
}

TEST(WeightSource, NamesFileAndTensorThatIsMissing) {
  TestModel model = TestModel::Random("llama", 1);
  model.tensors.erase(kDown);
  const auto source = WeightSource::Open(model.Write());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(source.status().message(), HasSubstr(kDown));
  EXPECT_THAT(source.status().message(), HasSubstr("model.safetensors"));
}

TEST(WeightSource, NamesTheShapesThatDiffer) {
  TestModel model = TestModel::Random("llama", 1);
  model.tensors[kDown] = {{64, 32}, std::vector<float>(64 * 32)};
  const auto source = WeightSource::Open(model.Write());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(source.status().message(), HasSubstr(kDown));
  EXPECT_THAT(source.status().message(), HasSubstr("[64, 32], expected [64, 96]"));
}

TEST(WeightSource, ATruncatedFileIsDamage) {
  const std::string folder = TestModel::Random("llama", 1).Write();
  const std::string path = folder + "/model.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 100);
  const auto source = WeightSource::Open(folder);
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(source.status().message(), HasSubstr("model.safetensors"));
}

TEST(WeightSource, SaysWhatAFolderLacks) {
  EXPECT_EQ(WeightSource::Open("/nowhere/model.gguf").status().code(), StatusCode::kNotFound);
  const std::string folder = FreshFolder("empty");
  EXPECT_THAT(WeightSource::Open(folder).status().message(), HasSubstr("config.json"));
  std::ofstream(folder + "/config.json") << TestModel::Random("llama", 1).config.dump();
  EXPECT_THAT(WeightSource::Open(folder).status().message(), HasSubstr("model.safetensors"));
}

TEST(WeightSource, AShardIndexCannotPointOutOfItsFolder) {
  const std::string folder = TestModel::Random("llama", 1).Write();
  std::filesystem::rename(folder + "/model.safetensors", folder + "/a.safetensors");
  const std::string index = folder + "/model.safetensors.index.json";
  std::ofstream(index) << R"({"weight_map": {"x": "../a.safetensors"}})";
  EXPECT_EQ(WeightSource::Open(folder).status().code(), StatusCode::kDataLoss);
  std::ofstream(index) << R"({"weight_map": {"x": "a.safetensors"}})";
  const auto source = WeightSource::Open(folder);
  EXPECT_TRUE(source.ok()) << source.status();
}

TEST(WeightSource, TheFingerprintFollowsTheContent) {
  TestModel model = TestModel::Random("llama", 1);
  const auto fingerprint = [&] {
    const auto source = WeightSource::Open(model.Write());
    MSA_CHECK(source.ok());
    return (*source)->fingerprint();
  };
  const Digest before = fingerprint();
  EXPECT_EQ(fingerprint(), before);
  model.tensors[kDown].values[7] += 1;
  const Digest changed_weight = fingerprint();
  EXPECT_NE(changed_weight, before);
  model.config["rms_norm_eps"] = 1e-6;
  EXPECT_NE(fingerprint(), changed_weight);
}

TEST(SampledDigest, SeesTheStartTheEndAndTheLengthOfALargeFile) {
  const std::string path = FreshFolder("file") + "/large";
  std::string content((size_t{17} << 20) + 5, 'a');
  const auto digest = [&] {
    std::ofstream(path, std::ios::binary) << content;
    const auto result = SampledDigest(path);
    MSA_CHECK(result.ok());
    return *result;
  };
  const Digest before = digest();
  EXPECT_EQ(digest(), before);
  content.front() = 'b';
  const Digest first = digest();
  EXPECT_NE(first, before);
  content.back() = 'b';
  const Digest last = digest();
  EXPECT_NE(last, first);
  content.push_back('b');
  EXPECT_NE(digest(), last);
}

}  // namespace
}  // namespace msa
