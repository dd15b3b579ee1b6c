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
#include "msa/model/adapted_weights.h"
#include "msa/model/backbone.h"

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

  int64_t resident_bytes() const;
};

// Kept in 8 bits whatever the layers are: the head decides between near-equal tokens.
struct CpuEmbeddings {
  std::unique_ptr<QuantMatrix> embedding;
  std::unique_ptr<QuantMatrix> output;  // null: the embedding
  std::vector<float> output_norm;

  int64_t resident_bytes() const;
};

// Immutable after Load; any number of threads may call.
class CpuBackbone {
 public:
  // Backbones with and without an adapter's updates share them.
  struct Parts {
    std::shared_ptr<const CpuEmbeddings> embeddings;
    std::vector<std::shared_ptr<const CpuLayer>> layers;
  };

  // Loads the parts that are null; as many layers as `parts` has. 4-bit blocks of the file are kept
  // as they are; matrices with an update are kept in 8 bits whatever `format` is.
  static Result<std::unique_ptr<CpuBackbone>> Load(const AdaptedWeights& source,
                                                   WeightFormat format, ThreadPool& pool,
                                                   Parts parts);

  const BackboneConfig& config() const { return config_; }
  const Parts& parts() const { return parts_; }
  // REQUIRES: i is one of the layers that were loaded.
  const CpuLayer& layer(int64_t i) const { return *parts_.layers[static_cast<size_t>(i)]; }
  AttentionShape attention_shape() const {
    return {config_.num_heads, config_.num_kv_heads, config_.head_dim};
  }
  int64_t qkv_size() const { return config_.query_size() + 2 * config_.kv_size(); }

  // In all of these, rows of the arguments belong together, and `pool` null means this thread
  // alone.

  // hidden [T, hidden].
  void Embed(std::span<const TokenId> tokens, MatrixView<float> hidden) const;
  // hidden to qkv [T, (H + 2 G) D]: the projections of the normalised input, neither normalised by
  // head nor rotated.
  void Project(const CpuLayer& layer, MatrixView<const float> hidden, MatrixView<float> qkv,
               ThreadPool* pool) const;
  // hidden to y [T, outputs]: another matrix of the same normalised input.
  void MultiplyInput(const CpuLayer& layer, const QuantMatrix& matrix,
                     MatrixView<const float> hidden, MatrixView<float> y, ThreadPool* pool) const;
  // Norms of query and key heads (Qwen3) and rope, in place.
  void Rotate(const CpuLayer& layer, MatrixView<float> qkv, const RopeTable& table,
              std::span<const int32_t> positions) const;
  // hidden += the layer's output for attention [T, H D], and then its MLP.
  void Finish(const CpuLayer& layer, MatrixView<const float> attention, MatrixView<float> hidden,
              ThreadPool* pool) const;
  // logits [T, vocab].
  void Logits(MatrixView<const float> hidden, MatrixView<float> logits, ThreadPool* pool) const;

 private:
  CpuBackbone(BackboneConfig config, Parts parts)
      : config_(std::move(config)), parts_(std::move(parts)) {}

  const BackboneConfig config_;
  Parts parts_;
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
