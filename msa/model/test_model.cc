#include "msa/model/test_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "msa/base/safetensors.h"
#include "msa/model/adapter_tensors.h"

namespace msa::testing_model {

std::vector<float> RandomFloats(size_t count, float scale, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(count);
  for (float& x : out) x = normal(random);
  return out;
}

namespace {

// Everything the process writes, removed at its end.
struct TemporaryRoot {
  std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / ("msa_model_test_" + std::to_string(getpid()));
  ~TemporaryRoot() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace

std::string FreshFolder(const std::string& name) {
  static const TemporaryRoot root;
  static int count = 0;
  const std::filesystem::path folder = root.path / (std::to_string(count++) + "_" + name);
  std::filesystem::create_directories(folder);
  return folder.string();
}

void WriteSafetensors(const std::string& path, const TestTensors& tensors,
                      const std::map<std::string, std::string, std::less<>>& metadata) {
  std::vector<SafeTensor> list;
  for (const auto& [name, tensor] : tensors) {
    list.push_back(
        {name, DType::kF32, tensor.shape, std::as_bytes(std::span<const float>(tensor.values))});
  }
  std::ofstream out(path, std::ios::binary);
  out << SafetensorsHeader(list, metadata);
  for (const SafeTensor& tensor : list) {
    out.write(reinterpret_cast<const char*>(tensor.bytes.data()),
              static_cast<std::streamsize>(tensor.bytes.size()));
  }
}

TestModel TestModel::Random(const std::string& family, uint64_t seed) {
  TestModel model;
  model.config = {
      {"model_type", family},     {"vocab_size", 50},       {"hidden_size", 64},
      {"intermediate_size", 96},  {"num_hidden_layers", 3}, {"num_attention_heads", 4},
      {"num_key_value_heads", 2}, {"head_dim", 16},         {"max_position_embeddings", 256},
      {"rms_norm_eps", 1e-5},     {"rope_theta", 10000.0},  {"tie_word_embeddings", true}};
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    size_t count = 1;
    for (const int64_t n : shape) count *= static_cast<size_t>(n);
    auto values = RandomFloats(count, shape.size() == 1 ? 0.2f : 0.15f, seed++);
    if (shape.size() == 1) {
      for (float& x : values) x += 1;  // norms
    }
    model.tensors[name + ".weight"] = {std::move(shape), std::move(values)};
  };
  add("model.embed_tokens", {50, 64});
  add("model.norm", {64});
  for (int layer = 0; layer < 3; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(prefix + "input_layernorm", {64});
    add(prefix + "self_attn.q_proj", {64, 64});
    add(prefix + "self_attn.k_proj", {32, 64});
    add(prefix + "self_attn.v_proj", {32, 64});
    add(prefix + "self_attn.o_proj", {64, 64});
    if (family == "qwen3") {
      add(prefix + "self_attn.q_norm", {16});
      add(prefix + "self_attn.k_norm", {16});
    }
    add(prefix + "post_attention_layernorm", {64});
    add(prefix + "mlp.gate_proj", {96, 64});
    add(prefix + "mlp.up_proj", {96, 64});
    add(prefix + "mlp.down_proj", {64, 96});
  }
  return model;
}

std::string TestModel::Write() const {
  const std::string folder = FreshFolder("model");
  std::ofstream(folder + "/config.json") << config.dump();
  WriteSafetensors(folder + "/model.safetensors", tensors);
  return folder;
}

Adapter RandomAdapter(const BackboneConfig& backbone, const MemoryConfig& memory, uint64_t seed) {
  Adapter adapter = Adapter::Untrained(memory);
  adapter.max_chunk_tokens = memory.chunk_tokens + 3;
  adapter.latent_weight = 0.7;
  adapter.question = {{"<q>", "</q>"}};
  adapter.training = R"({"steps":5})";
  for (AdapterLayer& layer : adapter.layers) layer.alpha = 1.5;
  const auto ranks = [&](int64_t rank, std::vector<LowRankLayer>* layers) {
    layers->resize(static_cast<size_t>(backbone.num_layers));
    for (LowRankLayer& layer : *layers) {
      for (LowRank& update : layer) update.rank = rank;
    }
  };
  ranks(2, &adapter.tower);
  ranks(3, &adapter.reader);
  ranks(1, &adapter.text_reader);
  ForEachAdapterTensor(
      backbone, memory, adapter,
      [&](const std::string&, int64_t rows, int64_t columns, std::vector<float>& values) {
        values = RandomFloats(static_cast<size_t>(rows * columns), 0.2f, seed++);
      });
  return adapter;
}

}  // namespace msa::testing_model
