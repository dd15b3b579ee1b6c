#include "msa/model/backbone_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace msa {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

Json LlamaJson() {
  return {{"model_type", "llama"},      {"vocab_size", 100},
          {"hidden_size", 64},          {"intermediate_size", 96},
          {"num_hidden_layers", 3},     {"num_attention_heads", 4},
          {"num_key_value_heads", 2},   {"max_position_embeddings", 512},
          {"rms_norm_eps", 1e-5},       {"rope_theta", 10000.0},
          {"tie_word_embeddings", true}};
}

Result<BackboneConfig> Parse(const Json& json) {
  return ConfigFromHuggingFace(json.dump(), "m/config.json");
}

TEST(ConfigFromHuggingFace, ReadsLlama) {
  const auto config = Parse(LlamaJson());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->family, "llama");
  EXPECT_EQ(config->name, "m");
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->query_size(), 64);
  EXPECT_EQ(config->kv_size(), 32);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_FALSE(config->attention_norms);
  ASSERT_EQ(config->rope_frequencies.size(), 8u);
  EXPECT_EQ(config->rope_frequencies[0], 1);
  EXPECT_NEAR(config->rope_frequencies[4], 0.01, 1e-8);
  // By hand: 3 layers of 2 * 64 * (64 + 32) + 3 * 64 * 96 + 2 * 64, embedding 100 * 64, norm 64.
  EXPECT_EQ(config->num_parameters(), 3 * (12288 + 18432 + 128) + 6400 + 64);
}

TEST(ConfigFromHuggingFace, ReadsQwen3WithItsDefaults) {
  Json json = LlamaJson();
  json["model_type"] = "qwen3";
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 128);
  EXPECT_EQ(config->rope_theta, 1e6);
  EXPECT_TRUE(config->attention_norms);
}

TEST(ConfigFromHuggingFace, ScalesRopeAsLlama3Does) {
  Json json = LlamaJson();
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 256}};
  const auto plain = Parse(LlamaJson());
  const auto scaled = Parse(json);
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  // Wavelengths: 6.3 (kept, below 64), 6283 (slowed, above 256), 198 (between).
  EXPECT_EQ(scaled->rope_frequencies[0], plain->rope_frequencies[0]);
  EXPECT_FLOAT_EQ(scaled->rope_frequencies[6], plain->rope_frequencies[6] / 8);
  EXPECT_LT(scaled->rope_frequencies[3], plain->rope_frequencies[3]);
  EXPECT_GT(scaled->rope_frequencies[3], plain->rope_frequencies[3] / 8);
}

TEST(ConfigFromHuggingFace, RefusesWhatWouldChangeTheMathematics) {
  const std::pair<Json, const char*> cases[] = {
      {{{"model_type", "mistral"}}, "mistral"},
      {{{"attention_bias", true}}, "attention_bias"},
      {{{"mlp_bias", true}}, "mlp_bias"},
      {{{"hidden_act", "gelu"}}, "gelu"},
      {{{"use_sliding_window", true}}, "sliding window"},
      {{{"layer_types", {"full_attention", "sliding_attention"}}}, "sliding window"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config"},
      {{{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}}}, "yarn"}};
  for (const auto& [change, word] : cases) {
    Json json = LlamaJson();
    json.update(change);
    const auto config = Parse(json);
    ASSERT_FALSE(config.ok()) << word;
    EXPECT_EQ(config.status().code(), StatusCode::kUnimplemented) << word;
    EXPECT_THAT(config.status().message(), HasSubstr(word));
    EXPECT_THAT(config.status().message(), HasSubstr("m/config.json"));
  }
}

TEST(ConfigFromHuggingFace, AllowsASlidingWindowThatIsOff) {
  Json json = LlamaJson();
  json["model_type"] = "qwen3";
  json["use_sliding_window"] = false;
  json["sliding_window"] = nullptr;
  json["layer_types"] = {"full_attention", "full_attention", "full_attention"};
  EXPECT_TRUE(Parse(json).ok());
}

TEST(ConfigFromHuggingFace, NamesTheKeyThatIsWrong) {
  const std::pair<Json, const char*> cases[] = {{{{"hidden_size", nullptr}}, "hidden_size"},
                                                {{{"hidden_size", "64"}}, "hidden_size"},
                                                {{{"num_hidden_layers", 0}}, "number of layers"},
                                                {{{"num_key_value_heads", 3}}, "multiple of 3"},
                                                {{{"head_dim", 15}}, "15 is odd"},
                                                {{{"num_attention_heads", 0}}, "heads"},
                                                {{{"vocab_size", int64_t{1} << 40}}, "vocabulary"},
                                                {{{"rms_norm_eps", -1.0}}, "epsilon"}};
  for (const auto& [change, word] : cases) {
    Json json = LlamaJson();
    json.update(change);
    const auto config = Parse(json);
    ASSERT_FALSE(config.ok()) << word;
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument) << word;
    EXPECT_THAT(config.status().message(), HasSubstr(word));
  }
  EXPECT_EQ(ConfigFromHuggingFace("{", "m/config.json").status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace msa
