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
    // A block goes through the end of one layer and the start of the next.
    for (int64_t begin = 0; begin < rows; begin += kCpuBlockRows) {
      const int64_t end = std::min(begin + kCpuBlockRows, rows);
      const MatrixView<float> block = RowRange(hidden_, begin, end);
      if (l > 0) {
        backbone.Finish(backbone.layer(l - 1), RowRange(attention_, begin, end), block, nullptr);
      }
      backbone.Project(backbone.layer(l), block, RowRange(qkv_, begin, end), nullptr);
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
  for (const int64_t passage : pack) {
    const auto& ids = input.passages[static_cast<size_t>(passage)];
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    for (size_t i = 0; i < ids.size(); ++i) positions_.push_back(static_cast<int32_t>(i));
    passage_begin_.push_back(std::ssize(tokens_));
    outputs_.push_back(input.outputs[static_cast<size_t>(passage)]);
  }
}

// Rotates qkv; in a memory layer it pools routing keys before and latents after.
void CpuEncoder::Remember(const CpuEncoderInput& input, int64_t layer) {
  const MemoryPlan& plan = *input.plan;
  const CpuBackbone& backbone = *input.backbone;
  const CpuLayer& weights = backbone.layer(layer);
  const int64_t memory = plan.MemoryIndex(layer);
  if (memory < 0) return backbone.Rotate(weights, qkv_, *input.rope, positions_);

  const CpuAdapterLayer& adapter = input.adapter[static_cast<size_t>(memory)];
  if (adapter.pool_score != nullptr || adapter.router_key != nullptr) {
    norm_ = norm_buffer_.Resize(hidden_.rows, hidden_.cols);
    RmsNorm(hidden_, weights.attention_norm, static_cast<float>(plan.backbone.norm_epsilon), norm_);
  }
  ComputePoolWeights(input, memory);
  const int64_t kv = plan.backbone.kv_size();
  const int64_t keys = plan.backbone.query_size();
  if (const int64_t routing = plan.RoutingIndex(layer); routing >= 0) {
    MatrixView<float> r = ColumnRange(qkv_, keys, keys + kv);
    if (adapter.router_key != nullptr) {
      r = router_buffer_.Resize(hidden_.rows, kv);
      adapter.router_key->Multiply(norm_, r, nullptr);
    }
    PoolPassages(plan, r, [&](const PassageOutput& out, int64_t chunks) {
      return MatrixView<float>(out.keys + routing * kv, chunks, kv, plan.key_dim());
    });
  }
  backbone.Rotate(weights, qkv_, *input.rope, positions_);
  for (const int64_t part : {0, 1}) {  // k, v
    const int64_t from = keys + part * kv;
    PoolPassages(plan, ColumnRange(qkv_, from, from + kv),
                 [&](const PassageOutput& out, int64_t chunks) {
                   return MatrixView<float>(out.latents + (2 * memory + part) * kv, chunks, kv,
                                            plan.latent_size());
                 });
  }
}

// a = softmax(s(x_i) + b_i) over each chunk's tokens.
void CpuEncoder::ComputePoolWeights(const CpuEncoderInput& input, int64_t memory_index) {
  const auto index = static_cast<size_t>(memory_index);
  const QuantMatrix* score = input.adapter[index].pool_score.get();
  const std::vector<float>& position = input.plan->adapter.layers[index].pool_position;
  pool_weights_.clear();
  if (score == nullptr && position.empty()) return;
  const int64_t heads = input.plan->backbone.num_kv_heads;
  const int64_t chunk = input.plan->memory.chunk_tokens;
  pool_weights_.assign(static_cast<size_t>(hidden_.rows * heads), 0.0f);
  const MatrixView<float> a(pool_weights_.data(), hidden_.rows, heads);
  if (score != nullptr) score->Multiply(norm_, a, nullptr);
  const auto place = [&](int64_t t) { return positions_[static_cast<size_t>(t)] % chunk; };
  for (int64_t t = 0; t < a.rows && !position.empty(); ++t) {
    for (int64_t g = 0; g < heads; ++g) {
      a.row(t)[static_cast<size_t>(g)] += position[static_cast<size_t>(place(t) * heads + g)];
    }
  }
  for (int64_t begin = 0; begin < a.rows;) {
    int64_t end = begin + 1;
    while (end < a.rows && place(end) != 0) ++end;
    for (int64_t g = 0; g < heads; ++g) SoftmaxColumn(RowRange(a, begin, end), g);
    begin = end;
  }
}

// Pools the chunks of each passage into the rows that place(output, chunks) gives.
template <class Place>
void CpuEncoder::PoolPassages(const MemoryPlan& plan, MatrixView<const float> values,
                              Place place) const {
  const int64_t heads = plan.backbone.num_kv_heads;
  std::vector<int64_t> chunk_begin;
  for (size_t p = 0; p < outputs_.size(); ++p) {
    const int64_t begin = passage_begin_[p];
    const int64_t count = passage_begin_[p + 1] - begin;
    chunk_begin.clear();
    for (int64_t i = 0; i < count; i += plan.memory.chunk_tokens) chunk_begin.push_back(i);
    const int64_t chunks = std::ssize(chunk_begin);
    chunk_begin.push_back(count);
    std::span<const float> weights = pool_weights_;
    if (!weights.empty()) {
      weights =
          weights.subspan(static_cast<size_t>(begin * heads), static_cast<size_t>(count * heads));
    }
    PoolChunks(RowRange(values, begin, begin + count), weights, heads, chunk_begin,
               place(outputs_[p], chunks));
  }
}

}  // namespace msa
