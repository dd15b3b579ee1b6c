// Passages to latents on one thread of the CPU; see design.md, Encode. Threads share nothing but
// the weights: each takes packs of its own through all layers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msa/kernels/quant_matmul.h"
#include "msa/model/cpu_backbone.h"
#include "msa/model/transformer.h"

namespace msa {

// The adapter's matrices of one memory layer; null where untrained.
struct CpuAdapterLayer {
  std::unique_ptr<QuantMatrix> pool_score;
  std::unique_ptr<QuantMatrix> router_key;
  std::unique_ptr<QuantMatrix> router_query;
};

// Where one passage's chunks go.
struct PassageOutput {
  float* keys;     // [chunks, E]
  float* latents;  // [chunks, layers, 2, G, D]
};

// What all threads read.
struct CpuEncoderInput {
  const CpuBackbone* backbone;
  const MemoryPlan* plan;
  std::span<const CpuAdapterLayer> adapter;  // one a memory layer
  const RopeTable* rope;                     // of a passage's positions
  std::span<const std::span<const TokenId>> passages;
  std::span<const PassageOutput> outputs;  // one a passage
};

// One thread's buffers, kept from pack to pack.
class CpuEncoder {
 public:
  // Encodes the passages of one pack and writes their outputs.
  void Encode(const CpuEncoderInput& input, const Pack& pack);

 private:
  void Gather(const CpuEncoderInput& input, const Pack& pack);
  void Remember(const CpuEncoderInput& input, int64_t layer);
  void ComputePoolWeights(const CpuEncoderInput& input, int64_t memory_index);
  template <class Place>
  void PoolPassages(const MemoryPlan& plan, MatrixView<const float> values, Place place) const;

  RowBuffer hidden_buffer_, qkv_buffer_, attention_buffer_, norm_buffer_, router_buffer_;
  MatrixView<float> hidden_, qkv_, attention_, norm_;
  // Of the pack at hand:
  std::vector<TokenId> tokens_;         // [T]
  std::vector<int32_t> positions_;      // [T], in its passage
  std::vector<int64_t> passage_begin_;  // [passages + 1]
  std::vector<PassageOutput> outputs_;  // [passages]
  std::vector<float> pool_weights_;     // [T, G]; empty: the mean
};

}  // namespace msa
