// A forward pass over consecutive local tokens on all threads: what a session feeds and what a
// question runs. (Documents go the other way: each thread takes its own, cpu_forward.cc.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msa/base/function_ref.h"
#include "msa/model/cpu_backbone.h"

namespace msa {

// Its buffers are kept for the next pass. One thread at a time; so is the pool.
class CpuPass {
 public:
  CpuPass(const CpuBackbone& backbone, ThreadPool& pool) : backbone_(backbone), pool_(pool) {}

  // Runs layers 0 .. last_layer over `tokens`.
  // After each layer's projections calls on_layer(layer, qkv [T, (H + 2 G) D], attention [T, H D]):
  // it turns qkv into attention (after Rotate), or returns false to end the pass there.
  void Run(std::span<const TokenId> tokens, int64_t last_layer,
           FunctionRef<bool(int64_t layer, MatrixView<float> qkv, MatrixView<float> attention)>
               on_layer);

  // [T, hidden], after Run has gone through the last layer.
  MatrixView<float> hidden() const { return hidden_; }

 private:
  void ForRows(FunctionRef<void(int64_t begin, int64_t end, ThreadPool* pool)> f);

  const CpuBackbone& backbone_;
  ThreadPool& pool_;
  RowBuffer hidden_buffer_, qkv_buffer_, attention_buffer_;
  MatrixView<float> hidden_;
};

// Positions first, first + 1, ….
std::vector<int32_t> ConsecutivePositions(int64_t first, int64_t count);

}  // namespace msa
