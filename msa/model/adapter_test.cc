#include "msa/model/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>

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
                   {"num_layers", 4},
                   {"num_heads", 4},
                   {"num_kv_heads", 2},
                   {"head_dim", 16}}},
                 {"chunk_tokens", 8},
                 {"memory_layers", {1, 3}},
                 {"routing_layers", {3}},
                 {"alpha", {0.5, 2.0}},
                 {"latent_weight", 0.7}};
  TestTensors tensors = {{"layers.1.pool.score", {{2, 64}, RandomFloats(128, 1, 1)}},
                         {"layers.3.pool.position", {{8, 2}, RandomFloats(16, 1, 2)}},
                         {"layers.3.router.key", {{32, 64}, RandomFloats(2048, 1, 3)}}};
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
    memory.chunk_tokens = 8;
    return Load(&memory).status();
  }
};

TEST(Adapter, LoadsWhatTheFileHoldsAndFillsInTheLayers) {
  const AdapterFile file;
  MemoryConfig memory;
  memory.chunk_tokens = 8;
  const auto adapter = file.Load(&memory);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_THAT(memory.memory_layers, ElementsAre(1, 3));
  EXPECT_THAT(memory.routing_layers, ElementsAre(3));
  ASSERT_EQ(adapter->layers.size(), 2u);
  EXPECT_EQ(adapter->layers[0].pool_score, file.tensors.at("layers.1.pool.score").values);
  EXPECT_TRUE(adapter->layers[0].pool_position.empty());
  EXPECT_EQ(adapter->layers[1].router_key, file.tensors.at("layers.3.router.key").values);
  EXPECT_EQ(adapter->layers[1].alpha, 2.0);
  EXPECT_THAT(adapter->routing_weights, ElementsAre(1.0));
  EXPECT_EQ(adapter->latent_weight, 0.7);
  EXPECT_NE(adapter->digest, Digest{});
}

TEST(Adapter, IsMadeForOneBackboneAndConfiguration) {
  const std::pair<const char*, Json> changes[] = {
      {"/backbone/hidden_size", 128}, {"/backbone/num_layers", 5}, {"/chunk_tokens", 16}};
  for (const auto& [pointer, value] : changes) {
    AdapterFile file;
    file.config[Json::json_pointer(pointer)] = value;
    const Status status = file.LoadError();
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << pointer << status;
    EXPECT_THAT(status.message(), HasSubstr(value.dump()));
  }
  MemoryConfig memory;
  memory.chunk_tokens = 8;
  memory.memory_layers = {2, 3};
  EXPECT_EQ(AdapterFile().Load(&memory).status().code(), StatusCode::kFailedPrecondition);
}

TEST(Adapter, NoTensorIsIgnored) {
  for (const auto& [name, code] :
       {std::pair{"tower.layers.0.query.a", StatusCode::kUnimplemented},
        {"reader.layers.0.query.a", StatusCode::kUnimplemented},
        {"layers.1.residual.position", StatusCode::kUnimplemented},
        {"layers.2.pool.score", StatusCode::kDataLoss},  // no memory layer
        {"layers.1.router.key", StatusCode::kDataLoss},  // no routing layer
        {"layers.1.pool.scores", StatusCode::kDataLoss}}) {
    AdapterFile file;
    file.tensors[name] = {{2, 64}, std::vector<float>(128)};
    const Status status = file.LoadError();
    EXPECT_EQ(status.code(), code) << name << status;
    EXPECT_THAT(status.message(), HasSubstr(name));
  }
}

TEST(Adapter, RefusesWrongShapesAndValues) {
  AdapterFile shape;
  shape.tensors["layers.1.pool.score"] = {{4, 64}, std::vector<float>(256)};
  EXPECT_THAT(shape.LoadError().message(), HasSubstr("layers.1.pool.score is f32 [4,64]"));
  AdapterFile nan;
  nan.tensors["layers.1.pool.score"].values[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(nan.LoadError().message(), HasSubstr("NaN"));
  const std::pair<const char*, Json> changes[] = {
      {"routing_weights", {0.5}}, {"routing_weights", {0.5, 0.5}}, {"alpha", {0.5}},
      {"alpha", {0.5, -1.0}},     {"latent_weight", -1},           {"memory_layers", {1, "3"}},
      {"chunk_tokens", "8"}};
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

}  // namespace
}  // namespace msa
