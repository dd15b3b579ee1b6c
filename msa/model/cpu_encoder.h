// Passages to latents on one thread of the CPU; see design.md, Encode. Threads share nothing but
// the weights: each takes packs of its own through all layers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msa/model/cpu_adapter.h"
#include "msa/model/cpu_backbone.h"
#include "msa/model/transformer.h"

namespace msa {

// Where one passage's chunks go.
struct PassageOutput {
  float* keys;     // [chunks, E]
  float* latents;  // [chunks, layers, 2, G, D]
};

// What all threads read.
struct CpuEncoderInput {
  const CpuBackbone* backbone;  // the tower
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
  void Project(const CpuEncoderInput& input, int64_t layer, int64_t begin, int64_t end);
  void Remember(const CpuEncoderInput& input, int64_t layer);
  void ComputePoolWeights(const CpuEncoderInput& input, int64_t memory_index);
  template <class F>
  void ForEachPassage(F f) const;
  void PoolLatents(const CpuEncoderInput& input, int64_t memory_index) const;

  RowBuffer hidden_buffer_, qkv_buffer_, attention_buffer_, adapted_buffer_;
  MatrixView<float> hidden_, qkv_, attention_;
  MatrixView<float> adapted_;  // [T, outputs] of CpuAdapterLayer::input at the layer at hand
  // Of the pack at hand:
  std::vector<TokenId> tokens_;         // [T]
  std::vector<int32_t> positions_;      // [T], in its passage
  std::vector<int64_t> passage_begin_;  // [passages + 1]
  std::vector<PassageOutput> outputs_;  // [passages]
  // Of each passage, rows in it: [chunks + 1].
  std::vector<std::vector<int64_t>> chunk_begin_;
  std::vector<float> pool_weights_;  // [T, G]; empty: the mean
};

}  // namespace msa
