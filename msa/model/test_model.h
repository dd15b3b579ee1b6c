// Tests only: small random models written as Hugging Face folders (without a tokenizer).
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "msa/model/adapter.h"

namespace msa::testing_model {

struct TestTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using TestTensors = std::map<std::string, TestTensor>;

// Writes one f32 safetensors file.
void WriteSafetensors(const std::string& path, const TestTensors& tensors,
                      const std::map<std::string, std::string, std::less<>>& metadata = {});

struct TestModel {
  nlohmann::json config;
  TestTensors tensors;

  // 3 layers, 4 query and 2 key/value heads of 16, hidden 64, 50 tokens; the same for a seed.
  static TestModel Random(const std::string& family, uint64_t seed);
  // Writes config.json and model.safetensors into a new temporary folder; returns its path.
  std::string Write() const;
};

// A new empty folder, removed when the process ends.
std::string FreshFolder(const std::string& name);

// An adapter with everything in it, the same for a seed; the updates of tower and reader are of
// rank 2 and 3. REQUIRES: `memory` has its lists.
Adapter RandomAdapter(const BackboneConfig& backbone, const MemoryConfig& memory, uint64_t seed);

std::vector<float> RandomFloats(size_t count, float scale, uint64_t seed);

}  // namespace msa::testing_model
