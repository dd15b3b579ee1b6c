#include "msa/model/cpu_encoder.h"

#include <algorithm>
#include <cmath>

#include "msa/kernels/pool.h"

namespace msa {
namespace {

// Softmax down one column.
void SoftmaxColumn(MatrixView<float> x, int64_t column) {
  const auto at = [&](int64_t i) -> float& { return x.row(i)[static_cast<size_t>(column)]; };
  float largest = at(0);
  for (int64_t i = 1; i < x.rows; ++i) largest = std::max(largest, at(i));
  float sum = 0;
  for (int64_t i = 0; i < x.rows; ++i) sum += at(i) = std::exp(at(i) - largest);
  for (int64_t i = 0; i < x.rows; ++i) at(i) /= sum;
}

}  // namespace

void CpuEncoder::Encode(const CpuEncoderInput& input, const Pack& pack) {
  Gather(input, pack);
  const CpuBackbone& backbone = *input.backbone;
  const BackboneConfig& config = backbone.config();
  const int64_t rows = std::ssize(tokens_);
  hidden_ = hidden_buffer_.Resize(rows, config.hidden_size);
  qkv_ = qkv_buffer_.Resize(rows, backbone.qkv_size());
  attention_ = attention_buffer_.Resize(rows, config.query_size());
  const int64_t keys = config.query_size();
  const int64_t values = keys + config.kv_size();
  backbone.Embed(tokens_, hidden_);
  const int64_t last = input.plan->last_memory_layer();
  for (int64_t l = 0; l <= last; ++l) {
    if (const int64_t m = input.plan->memory.MemoryIndex(l); m >= 0) {
      const QuantMatrix* matrix = input.adapter[static_cast<size_t>(m)].input.get();
      if (matrix != nullptr) adapted_ = adapted_buffer_.Resize(rows, matrix->outputs());
    }
    // A block goes through the end of one layer and the start of the next.
    for (int64_t begin = 0; begin < rows; begin += kCpuBlockRows) {
      Project(input, l, begin, std::min(begin + kCpuBlockRows, rows));
    }
    Remember(input, l);
    if (l == last) break;
    AttendPassages(backbone.attention_shape(), ColumnRange(qkv_, 0, keys),
                   ColumnRange(qkv_, keys, values), ColumnRange(qkv_, values, qkv_.cols),
                   passage_begin_, attention_);
  }
}

void CpuEncoder::Gather(const CpuEncoderInput& input, const Pack& pack) {
  tokens_.clear();
  positions_.clear();
  passage_begin_ = {0};
  outputs_.clear();
  chunk_begin_.clear();
  for (const int64_t passage : pack) {
    const auto& ids = input.passages[static_cast<size_t>(passage)];
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    for (size_t i = 0; i < ids.size(); ++i) positions_.push_back(static_cast<int32_t>(i));
    passage_begin_.push_back(std::ssize(tokens_));
    outputs_.push_back(input.outputs[static_cast<size_t>(passage)]);
    std::vector<int64_t>& chunks = chunk_begin_.emplace_back();
    for (int64_t i = 0; i < std::ssize(ids); i += input.plan->memory.chunk_tokens) {
      chunks.push_back(i);
    }
    chunks.push_back(std::ssize(ids));
  }
}

// Ends the layer before and projects this one's input, for a block of rows.
void CpuEncoder::Project(const CpuEncoderInput& input, int64_t layer, int64_t begin, int64_t end) {
  const CpuBackbone& backbone = *input.backbone;
  const MatrixView<float> block = RowRange(hidden_, begin, end);
  if (layer > 0) {
    backbone.Finish(backbone.layer(layer - 1), RowRange(attention_, begin, end), block, nullptr);
  }
  backbone.Project(backbone.layer(layer), block, RowRange(qkv_, begin, end), nullptr);
  const int64_t memory = input.plan->memory.MemoryIndex(layer);
  if (memory < 0) return;
  const QuantMatrix* matrix = input.adapter[static_cast<size_t>(memory)].input.get();
  if (matrix == nullptr) return;
  backbone.MultiplyInput(backbone.layer(layer), *matrix, block, RowRange(adapted_, begin, end),
                         nullptr);
}

// Rotates qkv; in a memory layer it pools routing keys before and latents after.
void CpuEncoder::Remember(const CpuEncoderInput& input, int64_t layer) {
  const MemoryPlan& plan = *input.plan;
  const CpuBackbone& backbone = *input.backbone;
  const int64_t memory = plan.memory.MemoryIndex(layer);
  if (memory < 0) return backbone.Rotate(backbone.layer(layer), qkv_, *input.rope, positions_);

  ComputePoolWeights(input, memory);
  const int64_t heads = plan.backbone.num_kv_heads;
  const int64_t kv = plan.backbone.kv_size();
  const int64_t keys = plan.backbone.query_size();
  if (const int64_t routing = plan.memory.RoutingIndex(layer); routing >= 0) {
    const CpuAdapterLayer::Columns trained = input.adapter[static_cast<size_t>(memory)].router_key;
    const MatrixView<float> r = trained.empty() ? ColumnRange(qkv_, keys, keys + kv)
                                                : ColumnRange(adapted_, trained.begin, trained.end);
    ForEachPassage([&](int64_t begin, int64_t end, std::span<const int64_t> chunk_begin,
                       std::span<const float> weights, const PassageOutput& out) {
      PoolChunks(RowRange(r, begin, end), weights, heads, chunk_begin,
                 {out.keys + routing * kv, std::ssize(chunk_begin) - 1, kv, plan.key_dim()});
    });
  }
  backbone.Rotate(backbone.layer(layer), qkv_, *input.rope, positions_);
  PoolLatents(input, memory);
}

// k = sum a_i K_i + mean_i g_i * (U_k x_i), and v likewise.
void CpuEncoder::PoolLatents(const CpuEncoderInput& input, int64_t memory_index) const {
  const MemoryPlan& plan = *input.plan;
  const auto index = static_cast<size_t>(memory_index);
  const CpuAdapterLayer& adapter = input.adapter[index];
  const AdapterLayer& trained = plan.adapter.layers[index];
  const int64_t kv = plan.backbone.kv_size();
  for (const int64_t part : {0, 1}) {  // k, v
    const int64_t column = plan.backbone.query_size() + part * kv;
    const MatrixView<float> values = ColumnRange(qkv_, column, column + kv);
    const CpuAdapterLayer::Columns residual =
        part == 0 ? adapter.residual_key : adapter.residual_value;
    const std::vector<float>& position = part == 0 ? trained.key_position : trained.value_position;
    ForEachPassage([&](int64_t begin, int64_t end, std::span<const int64_t> chunk_begin,
                       std::span<const float> weights, const PassageOutput& passage) {
      const MatrixView<float> out(passage.latents + (2 * memory_index + part) * kv,
                                  std::ssize(chunk_begin) - 1, kv, plan.latent_size());
      PoolChunks(RowRange(values, begin, end), weights, plan.backbone.num_kv_heads, chunk_begin,
                 out);
      if (residual.empty()) return;
      AddPositionedMeans(RowRange(ColumnRange(adapted_, residual.begin, residual.end), begin, end),
                         {position.data(), std::ssize(position) / kv, kv}, chunk_begin, out);
    });
  }
}

// a = softmax(s(x_i) + b_i) over each chunk's tokens.
void CpuEncoder::ComputePoolWeights(const CpuEncoderInput& input, int64_t memory_index) {
  const auto index = static_cast<size_t>(memory_index);
  const CpuAdapterLayer::Columns score = input.adapter[index].pool_score;
  const std::vector<float>& position = input.plan->adapter.layers[index].pool_position;
  pool_weights_.clear();
  if (score.empty() && position.empty()) return;
  const int64_t heads = input.plan->backbone.num_kv_heads;
  pool_weights_.assign(static_cast<size_t>(hidden_.rows * heads), 0.0f);
  const MatrixView<float> a(pool_weights_.data(), hidden_.rows, heads);
  for (size_t p = 0; p < outputs_.size(); ++p) {
    for (size_t c = 0; c + 1 < chunk_begin_[p].size(); ++c) {
      const int64_t first = passage_begin_[p] + chunk_begin_[p][c];
      const MatrixView<float> chunk =
          RowRange(a, first, passage_begin_[p] + chunk_begin_[p][c + 1]);
      for (int64_t i = 0; i < chunk.rows; ++i) {
        for (int64_t g = 0; g < heads; ++g) {
          float& logit = chunk.row(i)[static_cast<size_t>(g)];
          if (!score.empty()) logit = adapted_.row(first + i)[static_cast<size_t>(score.begin + g)];
          if (!position.empty()) logit += position[static_cast<size_t>(i * heads + g)];
        }
      }
      for (int64_t g = 0; g < heads; ++g) SoftmaxColumn(chunk, g);
    }
  }
}

// Calls f(rows begin and end of the passage, where its chunks begin among them, its pooling
// weights, its output) for each passage of the pack.
template <class F>
void CpuEncoder::ForEachPassage(F f) const {
  for (size_t p = 0; p < outputs_.size(); ++p) {
    const int64_t begin = passage_begin_[p];
    const int64_t end = passage_begin_[p + 1];
    std::span<const float> weights = pool_weights_;
    if (!weights.empty()) {
      const int64_t heads = std::ssize(pool_weights_) / hidden_.rows;
      weights = weights.subspan(static_cast<size_t>(begin * heads),
                                static_cast<size_t>((end - begin) * heads));
    }
    f(begin, end, std::span<const int64_t>(chunk_begin_[p]), weights, outputs_[p]);
  }
}

}  // namespace msa
