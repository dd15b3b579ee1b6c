// A decoder-only transformer of the Llama or Qwen3 family, its weights on one device.
// libtorch stays out of this header.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/status.h"
#include "msa/base/threads.h"

namespace msa {

struct BackboneConfig {
  std::string family;  // "llama" or "qwen3"
  std::string name;    // the model's own name, or the file's
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;     // H
  int64_t num_kv_heads = 0;  // G
  int64_t head_dim = 0;      // D
  int64_t context_tokens = 0;
  double rope_theta = 0;
  double norm_epsilon = 0;
  bool tied_embeddings = false;
  bool attention_norms = false;  // Qwen3: RMS norm of each query and key head before rope
  // [D / 2] radians a position, rope scaling applied. Pair i of a head is (x[i], x[i + D / 2]).
  std::vector<float> rope_frequencies;

  int64_t query_size() const { return num_heads * head_dim; }
  int64_t kv_size() const { return num_kv_heads * head_dim; }
  int64_t num_parameters() const;
};

// How weights stay in memory, and so how products are computed.
enum class WeightMode {
  kAuto,  // CPU: kI8 below 10^9 parameters, else what the file holds; kF32 if the integer kernels
          // do not take the model's sizes; CUDA: bf16
  kF32,
  kBF16,
  kI8,  // kernels/quant_matmul.h, CPU only
  kI4,  // likewise
};
std::string_view WeightModeName(WeightMode mode);

struct LoadModelOptions {
  WeightMode weights = WeightMode::kAuto;
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1"
  int num_threads = 0;         // 0: all cores
};

}  // namespace msa
