#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "msa/model/adapter.h"
#include "msa/model/memory_model.h"

namespace msa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

BackboneConfig Backbone() { return {.num_layers = 6, .context_tokens = 1024}; }

TEST(MemoryConfig, SurvivesJson) {
  MemoryConfig config;
  config.passage_tokens = 128;
  config.chunk_tokens = 32;
  config.memory_layers = {3, 4};
  config.routing_layers = {4};
  config.key_dtype = DType::kF16;
  config.latent_dtype = DType::kBF16;
  config.top_k = 5;
  config.query_offset = 3;
  const auto read = MemoryConfig::FromJson(config.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToJson(), config.ToJson());
  EXPECT_THAT(read->memory_layers, ElementsAre(3, 4));
  EXPECT_EQ(read->latent_dtype, DType::kBF16);
}

TEST(MemoryConfig, AbsentKeysKeepTheirDefaults) {
  const auto read =
      MemoryConfig::FromJson(R"({"chunk_tokens": 16, "model": "other keys are fine"})");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->chunk_tokens, 16);
  EXPECT_EQ(read->passage_tokens, 256);
}

TEST(MemoryConfig, NamesTheKeyThatIsMistyped) {
  for (const char* json : {R"({"top_k": "many"})", R"({"memory_layers": [1, "2"]})",
                           R"({"key_dtype": "i3"})", R"({"chunk_tokens": 1.5})"}) {
    const auto read = MemoryConfig::FromJson(json);
    ASSERT_FALSE(read.ok()) << json;
    const std::string key = std::string(json).substr(2, std::string(json).find('"', 2) - 2);
    EXPECT_THAT(read.status().message(), HasSubstr(key));
  }
  EXPECT_FALSE(MemoryConfig::FromJson("[]").ok());
}

TEST(ResolveMemoryConfig, FillsInWhatIsLeftOpen) {
  MemoryConfig memory;
  ASSERT_TRUE(ResolveMemoryConfig(Backbone(), &memory).ok());
  EXPECT_THAT(memory.memory_layers, ElementsAre(3, 4, 5));
  EXPECT_THAT(memory.routing_layers, ElementsAre(5));
  EXPECT_EQ(memory.chunk_tokens, 64);
}

TEST(ResolveMemoryConfig, RefusesWhatTheBackboneCannotDo) {
  const auto refused = [](auto change) {
    MemoryConfig memory;
    change(memory);
    return ResolveMemoryConfig(Backbone(), &memory).code() == StatusCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](MemoryConfig&) {}));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.memory_layers = {5, 6}; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.memory_layers = {4, 4}; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.memory_layers = {-1}; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.routing_layers = {2}; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.passage_tokens = 1025; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.chunk_tokens = 257; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.chunk_tokens = -1; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.top_k = 0; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.query_offset = 1024; }));
  EXPECT_TRUE(refused([](MemoryConfig& m) { m.key_dtype = DType::kI64; }));
}

}  // namespace
}  // namespace msa
