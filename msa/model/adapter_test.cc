#include "msa/model/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "msa/base/safetensors.h"
#include "msa/model/adapter_tensors.h"
#include "msa/model/test_model.h"

namespace msa {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_model::FreshFolder;
using testing_model::RandomFloats;
using testing_model::TestTensors;

const BackboneConfig kBackbone = [] {
  BackboneConfig c;
  c.hidden_size = 64;
  c.intermediate_size = 96;
  c.num_layers = 4;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 16;
  c.context_tokens = 512;
  return c;
}();

// A valid adapter for it, to be spoiled.
struct AdapterFile {
  Json config = {{"backbone",
                  {{"hidden_size", 64},
                   {"intermediate_size", 96},
                   {"num_layers", 4},
                   {"num_heads", 4},
                   {"num_kv_heads", 2},
                   {"head_dim", 16}}},
                 {"chunk_tokens", 8},
                 {"memory_layers", {1, 3}},
                 {"routing_layers", {3}},
                 {"alpha", {0.5, 2.0}},
                 {"max_chunk_tokens", 10},
                 {"latent_weight", 0.7},
                 {"key_whitening", 0.3}};
  TestTensors tensors = {{"layers.1.pool.score", {{2, 64}, RandomFloats(128, 1, 1)}},
                         {"layers.3.pool.position", {{10, 2}, RandomFloats(20, 1, 2)}},
                         {"layers.3.router.key", {{32, 64}, RandomFloats(2048, 1, 3)}},
                         {"layers.1.residual.value", {{32, 64}, RandomFloats(2048, 1, 4)}},
                         {"layers.1.residual.value_position", {{10, 32}, RandomFloats(320, 1, 5)}},
                         {"tower.2.down.a", {{3, 96}, RandomFloats(288, 1, 6)}},
                         {"tower.2.down.b", {{3, 64}, RandomFloats(192, 1, 7)}}};
  std::string format = "msa-adapter";
  std::string version = "1";

  Result<Adapter> Load(MemoryConfig* memory) const {
    const std::string path = FreshFolder("adapter") + "/a.safetensors";
    testing_model::WriteSafetensors(
        path, tensors,
        {{"format", format}, {"format_version", version}, {"config", config.dump()}});
    return Adapter::Load(path, kBackbone, memory);
  }
  Status LoadError() const {
    MemoryConfig memory;
    return Load(&memory).status();
  }
};

TEST(Adapter, LoadsWhatTheFileHoldsAndFillsInTheLayers) {
  const AdapterFile file;
  MemoryConfig memory;
  const auto adapter = file.Load(&memory);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_THAT(memory.memory_layers, ElementsAre(1, 3));
  EXPECT_THAT(memory.routing_layers, ElementsAre(3));
  EXPECT_EQ(memory.chunk_tokens, 8);
  ASSERT_EQ(adapter->layers.size(), 2u);
  EXPECT_EQ(adapter->layers[0].pool_score, file.tensors.at("layers.1.pool.score").values);
  EXPECT_TRUE(adapter->layers[0].pool_position.empty());
  EXPECT_EQ(adapter->layers[1].router_key, file.tensors.at("layers.3.router.key").values);
  EXPECT_EQ(adapter->layers[1].alpha, 2.0);
  EXPECT_EQ(adapter->layers[0].residual_value, file.tensors.at("layers.1.residual.value").values);
  EXPECT_TRUE(adapter->layers[0].residual_key.empty());
  EXPECT_THAT(adapter->routing_weights, ElementsAre(1.0));
  ASSERT_EQ(adapter->tower.size(), 4u);
  EXPECT_EQ(adapter->tower[2][6].rank, 3);
  EXPECT_EQ(adapter->tower[2][6].b, file.tensors.at("tower.2.down.b").values);
  EXPECT_EQ(adapter->tower[2][5].rank, 0);
  EXPECT_TRUE(adapter->reader.empty());
  EXPECT_TRUE(adapter->text_reader.empty());
  EXPECT_FALSE(adapter->question.has_value());
  EXPECT_EQ(adapter->latent_weight, 0.7);
  EXPECT_EQ(adapter->key_whitening, 0.3);
  EXPECT_NE(adapter->digest, Digest{});
}

TEST(Adapter, IsMadeForOneBackboneAndConfiguration) {
  const std::pair<const char*, Json> changes[] = {{"/backbone/hidden_size", 128},
                                                  {"/backbone/intermediate_size", 128},
                                                  {"/backbone/num_layers", 5}};
  for (const auto& [pointer, value] : changes) {
    AdapterFile file;
    file.config[Json::json_pointer(pointer)] = value;
    const Status status = file.LoadError();
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << pointer << status;
    EXPECT_THAT(status.message(), HasSubstr(value.dump()));
  }
  MemoryConfig memory;
  memory.memory_layers = {2, 3};
  EXPECT_EQ(AdapterFile().Load(&memory).status().code(), StatusCode::kFailedPrecondition);
}

TEST(Adapter, ServesAnyChunkUpToItsLongest) {
  MemoryConfig memory;
  memory.chunk_tokens = 10;
  EXPECT_TRUE(AdapterFile().Load(&memory).ok());
  EXPECT_EQ(memory.chunk_tokens, 10);
  memory.chunk_tokens = 11;
  const Status status = AdapterFile().Load(&memory).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(status.message(), HasSubstr("at most 10 tokens"));
}

TEST(Adapter, NoTensorIsIgnored) {
  for (const char* name :
       {"tower.layers.0.query.a", "tower.4.query.a", "reader.0.queries.a", "reader.0.query.c",
        "text_reader.4.query.a", "layers.1.residual.position",
        "layers.2.pool.score" /* no memory layer */, "layers.1.router.key" /* no routing layer */,
        "layers.1.pool.scores", "layers.1.pool.score.scale" /* of an f32 tensor */}) {
    AdapterFile file;
    file.tensors[name] = {{2, 64}, std::vector<float>(128)};
    const Status status = file.LoadError();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << name << status;
    EXPECT_THAT(status.message(), HasSubstr(name));
  }
}

TEST(Adapter, PartsThatBelongTogetherAreBothThere) {
  for (const char* name :
       {"layers.1.residual.value", "layers.1.residual.value_position", "tower.2.down.a"}) {
    AdapterFile file;
    file.tensors.erase(name);
    const Status status = file.LoadError();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << name << status;
    EXPECT_THAT(status.message(), HasSubstr(std::string(name).substr(0, 12)));
  }
  AdapterFile ranks;
  ranks.tensors["tower.2.down.b"] = {{2, 64}, std::vector<float>(128)};
  EXPECT_THAT(ranks.LoadError().message(), HasSubstr("a of rank 3 and b of rank 2"));
}

TEST(Adapter, RefusesWrongShapesAndValues) {
  AdapterFile shape;
  shape.tensors["layers.1.pool.score"] = {{4, 64}, std::vector<float>(256)};
  EXPECT_THAT(shape.LoadError().message(), HasSubstr("layers.1.pool.score is f32 [4,64]"));
  AdapterFile nan;
  nan.tensors["layers.1.pool.score"].values[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(nan.LoadError().message(), HasSubstr("NaN"));
  const std::pair<const char*, Json> changes[] = {{"routing_weights", {0.5}},
                                                  {"routing_weights", {0.5, 0.5}},
                                                  {"alpha", {0.5}},
                                                  {"alpha", {0.5, -1.0}},
                                                  {"latent_weight", -1},
                                                  {"key_whitening", 1.5},
                                                  {"memory_layers", {1, "3"}},
                                                  {"chunk_tokens", "8"},
                                                  {"chunk_tokens", 0},
                                                  {"max_chunk_tokens", 7},
                                                  {"question", "Q"},
                                                  {"question", {{"prefix", "Q"}}}};
  for (const auto& [key, value] : changes) {
    AdapterFile file;
    file.config[key] = value;
    const Status status = file.LoadError();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << key << status;
    EXPECT_THAT(status.message(), HasSubstr(key));
  }
}

TEST(Adapter, OtherFilesAreNoAdapters) {
  AdapterFile other;
  other.format = "pt";
  EXPECT_EQ(other.LoadError().code(), StatusCode::kInvalidArgument);
  AdapterFile newer;
  newer.version = "2";
  EXPECT_EQ(newer.LoadError().code(), StatusCode::kUnimplemented);
}

TEST(Adapter, WhatIsSavedIsLoaded) {
  MemoryConfig memory;
  memory.chunk_tokens = 8;
  memory.memory_layers = {1, 3};
  memory.routing_layers = {3};
  const Adapter adapter = testing_model::RandomAdapter(kBackbone, memory, 1);
  // Relative to the largest value of a row, or to the value itself.
  const std::pair<DType, float> precisions[] = {{DType::kF32, 0.0f},
                                                {DType::kF16, 0x1p-11f},
                                                {DType::kBF16, 0x1p-8f},
                                                {DType::kI8, 0.51f / 127}};
  for (const auto& [dtype, precision] : precisions) {
    const std::string path = FreshFolder("saved") + "/a.safetensors";
    const Status saved = adapter.Save(path, kBackbone, memory, dtype);
    ASSERT_TRUE(saved.ok()) << saved;
    MemoryConfig open;
    const auto loaded = Adapter::Load(path, kBackbone, &open);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(open.ToJson(), memory.ToJson());
    std::vector<const std::vector<float>*> expected;
    ForEachAdapterTensor(kBackbone, memory, adapter,
                         [&](const std::string&, int64_t, int64_t, const auto& values) {
                           expected.push_back(&values);
                         });
    size_t next = 0;
    const auto same = [&](const std::string& name, int64_t rows, int64_t columns,
                          const std::vector<float>& values) {
      const std::vector<float>& before = *expected[next++];
      ASSERT_EQ(values.size(), before.size()) << name;
      ASSERT_EQ(values.size(), static_cast<size_t>(rows * columns)) << name;
      for (size_t i = 0; i < values.size(); ++i) {
        const auto row = before.begin() + static_cast<ptrdiff_t>(i) / columns * columns;
        const float largest = *std::max_element(
            row, row + columns, [](float a, float b) { return std::abs(a) < std::abs(b); });
        ASSERT_NEAR(values[i], before[i], precision * std::abs(largest)) << name;
      }
    };
    ForEachAdapterTensor(kBackbone, memory, *loaded, same);
    EXPECT_EQ(next, expected.size());
    EXPECT_EQ(loaded->layers[1].alpha, 1.5);
    EXPECT_EQ(loaded->routing_weights, adapter.routing_weights);
    EXPECT_EQ(loaded->latent_weight, 0.7);
    EXPECT_EQ(loaded->chunk_tokens, 8);
    EXPECT_EQ(loaded->max_chunk_tokens, 11);
    EXPECT_EQ(loaded->question->prefix, "<q>");
    EXPECT_EQ(loaded->question->suffix, "</q>");
    EXPECT_EQ(loaded->training, adapter.training);
    EXPECT_EQ(Adapter::ReadChunkTokens(path).value(), 8);
  }
}

TEST(Adapter, AnUntrainedOneSavesNoTensors) {
  MemoryConfig memory;
  ASSERT_TRUE(ResolveMemoryConfig(kBackbone, &memory).ok());
  const std::string path = FreshFolder("saved") + "/a.safetensors";
  ASSERT_TRUE(Adapter::Untrained(memory).Save(path, kBackbone, memory, DType::kI8).ok());
  EXPECT_TRUE((*SafetensorsFile::Open(path))->tensors().empty());
  MemoryConfig open;
  const auto loaded = Adapter::Load(path, kBackbone, &open);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(loaded->tower.empty());
  EXPECT_EQ(open.chunk_tokens, 64);
}

TEST(Adapter, IsNotSavedWithNotesThatAreNoJson) {
  MemoryConfig memory;
  ASSERT_TRUE(ResolveMemoryConfig(kBackbone, &memory).ok());
  Adapter adapter = Adapter::Untrained(memory);
  adapter.training = "ten minutes";
  const std::string path = FreshFolder("saved") + "/a.safetensors";
  EXPECT_EQ(adapter.Save(path, kBackbone, memory, DType::kF32).code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace msa
