#include "msa/model/cpu_pass.h"

#include <algorithm>
#include <numeric>

namespace msa {
namespace {

// Up to here threads share each product and read the weights once; beyond, each takes rows of its
// own, and what it computes stays in its cache.
constexpr int64_t kSharedRows = 16;

}  // namespace

void CpuPass::ForRows(FunctionRef<void(int64_t, int64_t, ThreadPool*)> f) {
  const int64_t rows = hidden_.rows;
  if (rows <= kSharedRows) return f(0, rows, &pool_);
  const int64_t share = (rows + pool_.num_threads() - 1) / pool_.num_threads();
  pool_.ParallelFor(rows, std::min(share, kCpuBlockRows),
                    [&](int64_t begin, int64_t end, int) { f(begin, end, nullptr); });
}

void CpuPass::Run(
    std::span<const TokenId> tokens, int64_t last_layer,
    FunctionRef<bool(int64_t layer, MatrixView<float> qkv, MatrixView<float> attention)> on_layer) {
  const auto rows = static_cast<int64_t>(tokens.size());
  const BackboneConfig& config = backbone_.config();
  hidden_ = hidden_buffer_.Resize(rows, config.hidden_size);
  const MatrixView<float> qkv = qkv_buffer_.Resize(rows, backbone_.qkv_size());
  const MatrixView<float> attention = attention_buffer_.Resize(rows, config.query_size());
  backbone_.Embed(tokens, hidden_);
  for (int64_t l = 0; l <= last_layer; ++l) {
    ForRows([&](int64_t begin, int64_t end, ThreadPool* pool) {
      const MatrixView<float> hidden = RowRange(hidden_, begin, end);
      if (l > 0) {
        backbone_.Finish(backbone_.layer(l - 1), RowRange(attention, begin, end), hidden, pool);
      }
      backbone_.Project(backbone_.layer(l), hidden, RowRange(qkv, begin, end), pool);
    });
    if (!on_layer(l, qkv, attention)) return;
  }
  ForRows([&](int64_t begin, int64_t end, ThreadPool* pool) {
    backbone_.Finish(backbone_.layer(last_layer), RowRange(attention, begin, end),
                     RowRange(hidden_, begin, end), pool);
  });
}

std::vector<int32_t> ConsecutivePositions(int64_t first, int64_t count) {
  std::vector<int32_t> positions(static_cast<size_t>(count));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
  return positions;
}

}  // namespace msa
