// The backbone's layers on a CPU with weights in 8 or 4 bits: what torch_backbone.h does, on rows
// of plain buffers, by the kernels of msa/kernels and without libtorch.
//
// A row is a token. Between two attentions everything goes row by row, so callers cut rows into
// blocks: a thread takes a block through all of it while it lies in its cache. One row is split
// over threads inside the products instead, which then read the weights once, together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msa/base/matrix.h"
#include "msa/base/status.h"
#include "msa/base/threads.h"
#include "msa/kernels/attend.h"
#include "msa/kernels/block_ops.h"
#include "msa/kernels/quant_matmul.h"
#include "msa/model/backbone.h"
#include "msa/model/weight_source.h"

namespace msa {

// 64 rows of the widest activation of a 135M model are 800 KB: a Zen 4 core's L2 holds 1 MB.
inline constexpr int64_t kCpuBlockRows = 64;

struct CpuLayer {
  std::vector<float> attention_norm, mlp_norm;
  std::vector<float> query_norm, key_norm;  // empty unless the backbone has attention_norms
  std::unique_ptr<QuantMatrix> qkv;         // query above key above value
  std::unique_ptr<QuantMatrix> attention_output;
  std::unique_ptr<QuantMatrix> gate_up;  // gate above up
  std::unique_ptr<QuantMatrix> down;
};

// Immutable after Load; any number of threads may call.
class CpuBackbone {
 public:
  // Embedding and output head are kept in 8 bits whatever `format` is: the head decides between
  // near-equal tokens. 4-bit blocks of the file are kept as they are.
  static Result<std::unique_ptr<CpuBackbone>> Load(const WeightSource& source, WeightFormat format,
                                                   ThreadPool& pool);

  const BackboneConfig& config() const { return config_; }
  const CpuLayer& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  AttentionShape attention_shape() const {
    return {config_.num_heads, config_.num_kv_heads, config_.head_dim};
  }
  int64_t qkv_size() const { return config_.query_size() + 2 * config_.kv_size(); }
  int64_t resident_bytes() const;

  // In all of these, rows of the arguments belong together, and `pool` null means this thread
  // alone.

  // hidden [T, hidden].
  void Embed(std::span<const TokenId> tokens, MatrixView<float> hidden) const;
  // hidden to qkv [T, (H + 2 G) D]: the projections of the normalised input, neither normalised by
  // head nor rotated.
  void Project(const CpuLayer& layer, MatrixView<const float> hidden, MatrixView<float> qkv,
               ThreadPool* pool) const;
  // Norms of query and key heads (Qwen3) and rope, in place.
  void Rotate(const CpuLayer& layer, MatrixView<float> qkv, const RopeTable& table,
              std::span<const int32_t> positions) const;
  // hidden += the layer's output for attention [T, H D], and then its MLP.
  void Finish(const CpuLayer& layer, MatrixView<const float> attention, MatrixView<float> hidden,
              ThreadPool* pool) const;
  // logits [T, vocab].
  void Logits(MatrixView<const float> hidden, MatrixView<float> logits, ThreadPool* pool) const;

 private:
  explicit CpuBackbone(BackboneConfig config) : config_(std::move(config)) {}
  Status LoadLayer(const WeightSource& source, WeightFormat format, int64_t index);

  const BackboneConfig config_;
  std::unique_ptr<QuantMatrix> embedding_;
  std::unique_ptr<QuantMatrix> output_;  // null: the embedding
  std::vector<float> output_norm_;
  std::vector<CpuLayer> layers_;
};

// Rows begin .. end - 1, and columns likewise.
template <class T>
MatrixView<T> RowRange(MatrixView<T> m, int64_t begin, int64_t end) {
  return {m.data + begin * m.stride, end - begin, m.cols, m.stride};
}
template <class T>
MatrixView<T> ColumnRange(MatrixView<T> m, int64_t begin, int64_t end) {
  return {m.data + begin, m.rows, end - begin, m.stride};
}

// A matrix that owns its rows; grows, and keeps what it has when it shrinks.
class RowBuffer {
 public:
  MatrixView<float> Resize(int64_t rows, int64_t cols) {
    values_.resize(std::max(values_.size(), static_cast<size_t>(rows * cols)));
    return {values_.data(), rows, cols};
  }

 private:
  std::vector<float> values_;
};

}  // namespace msa
