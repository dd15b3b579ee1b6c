#include "msa/model/key_whitening.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <queue>

#include "msa/base/check.h"
#include "msa/base/hash.h"
#include "msa/kernels/pool.h"
#include "msa/kernels/rotate.h"

namespace msa {
namespace {

// While it lives torch computes on the calling thread alone: these products are too small to wait
// for others, which on a busy machine takes fifty times as long as the work.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

struct Drawn {
  uint64_t mixed;
  const RouterKeysView* run;
  int64_t index;  // of the passage in its run

  bool operator<(const Drawn& other) const { return mixed < other.mixed; }
};

// The `count` visible passages with keys whose mixed ids are smallest, in that order.
std::vector<Drawn> Draw(std::span<const RouterKeysView> runs, size_t count) {
  std::priority_queue<Drawn> smallest;
  for (const RouterKeysView& run : runs) {
    for (int64_t p = 0; p < run.num_passages; ++p) {
      if (!run.IsVisible(p) || run.chunk_begin[p] == run.chunk_begin[p + 1]) continue;
      const uint64_t mixed = Mix64(static_cast<uint64_t>(run.passage_ids[p].value));
      if (smallest.size() == count && mixed >= smallest.top().mixed) continue;
      smallest.push({mixed, &run, p});
      if (smallest.size() > count) smallest.pop();
    }
  }
  std::vector<Drawn> drawn;
  for (; !smallest.empty(); smallest.pop()) drawn.push_back(smallest.top());
  std::reverse(drawn.begin(), drawn.end());
  return drawn;
}

// All their keys, f32 and not rotated, row after row.
std::vector<float> ReadKeys(std::span<const Drawn> passages) {
  std::vector<float> keys;
  for (const auto& [mixed, run, p] : passages) {
    const int64_t first = run->chunk_begin[p];
    const int64_t rows = run->chunk_begin[p + 1] - first;
    const size_t size = keys.size();
    keys.resize(size + static_cast<size_t>(rows * run->key_dim));
    const MatrixView<float> out(keys.data() + size, rows, run->key_dim);
    const auto* bytes = static_cast<const std::byte*>(run->keys);
    LoadRows(bytes + first * run->key_dim * DTypeSize(run->dtype),
             run->scales == nullptr ? nullptr : run->scales + first, run->dtype, run->key_dim, out);
    if (StoresKeysRotated(run->dtype)) RotateRows(out);
  }
  return keys;
}

}  // namespace

KeyWhitening KeyWhitening::Of(std::span<const RouterKeysView> runs, int64_t layer_dim,
                              double exponent) {
  KeyWhitening whitening;
  if (exponent == 0 || runs.empty()) return whitening;
  MSA_CHECK(runs.front().key_dim % layer_dim == 0);
  std::vector<float> keys = ReadKeys(Draw(runs, kSamplePassages));
  if (keys.empty()) return whitening;
  const OneThread one_thread;
  const int64_t layers = runs.front().key_dim / layer_dim;
  const auto dim = static_cast<double>(layer_dim);
  const int64_t num_keys = std::ssize(keys) / runs.front().key_dim;
  // [R, N, G*D]; a key of NaN scores nowhere (kernels/route.h), and is no reason to fail here.
  const at::Tensor rows = at::from_blob(keys.data(), {num_keys, layers, layer_dim}, at::kFloat)
                              .nan_to_num(0, 0, 0)
                              .transpose(0, 1)
                              .to(at::kDouble);
  const auto count = static_cast<double>(num_keys);
  const at::Tensor centred = rows - rows.mean(1, /*keepdim=*/true);
  const at::Tensor sums = at::bmm(centred.transpose(1, 2), centred);
  // Few keys say little: as many again as there are dimensions are thought to vary alike in all.
  const at::Tensor variance = sums.diagonal(0, 1, 2).mean(1).view({layers, 1, 1}) / count + 1e-12;
  const at::Tensor identity = at::eye(layer_dim, at::kDouble);
  const at::Tensor covariance = (sums + dim * variance * identity) / (count + dim);
  const auto [values, vectors] = at::linalg_eigh(covariance / variance);
  const at::Tensor powers = values.clamp_min(1e-6).pow(-exponent).unsqueeze(1);
  at::Tensor matrices = at::bmm(vectors * powers, vectors.transpose(1, 2));
  // Of mean 1 along the diagonal, so that no layer weighs more than the adapter has it weigh.
  matrices = (matrices / matrices.diagonal(0, 1, 2).mean(1).view({layers, 1, 1}))
                 .to(at::kFloat)
                 .contiguous();
  whitening.layer_dim_ = layer_dim;
  whitening.matrices_.assign(matrices.data_ptr<float>(),
                             matrices.data_ptr<float>() + matrices.numel());
  return whitening;
}

void KeyWhitening::Apply(std::span<float> query) const {
  if (matrices_.empty()) return;
  MSA_CHECK(std::ssize(query) * layer_dim_ == std::ssize(matrices_));
  const std::vector<float> from(query.begin(), query.end());
  const float* row = matrices_.data();
  for (size_t i = 0; i < query.size(); ++i, row += layer_dim_) {
    const float* part = from.data() + static_cast<int64_t>(i) / layer_dim_ * layer_dim_;
    float sum = 0;
    for (int64_t j = 0; j < layer_dim_; ++j) sum += row[j] * part[j];
    query[i] = sum;
  }
}

}  // namespace msa
