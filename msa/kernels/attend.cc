#include "msa/kernels/attend.h"

#include <algorithm>

#include "msa/base/check.h"
#include "msa/kernels/attend_rows.h"

namespace msa {
namespace {

constexpr int64_t kKeyTile = KvCache::kKeyTile;

const AttendKernel& KernelFor(Isa isa) {
  switch (isa) {
    case Isa::kReference: return ReferenceAttendKernel();
    case Isa::kAvx2: return Avx2AttendKernel();
    case Isa::kAvx512Vnni: return Avx512AttendKernel();
  }
  MSA_CHECK(false);
}

int64_t RoundUp(int64_t n) { return (n + kKeyTile - 1) / kKeyTile * kKeyTile; }

void CheckShape(const AttentionShape& shape) {
  MSA_CHECK(shape.head_dim > 0 && shape.num_kv_heads > 0 && shape.num_heads > 0 &&
            shape.num_heads % shape.num_kv_heads == 0);
}

// The queries and the output of key/value head `g`; the caller adds keys and values.
AttendRows QueriesOf(const AttentionShape& shape, int64_t g, const float* q, int64_t q_stride,
                     float* out, int64_t out_stride, int64_t first_limit) {
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  const int64_t offset = g * group * shape.head_dim;
  AttendRows rows = {};
  rows.head_dim = shape.head_dim;
  rows.group = group;
  rows.q = q + offset;
  rows.q_stride = q_stride;
  rows.out = out + offset;
  rows.out_stride = out_stride;
  rows.first_limit = first_limit;
  return rows;
}

AttendRows RowsOf(const KvCache& cache, int64_t g, const AttendRows& queries) {
  AttendRows rows = queries;
  rows.keys = cache.keys(g);
  rows.values = cache.values(g);
  rows.value_stride = cache.value_stride();
  return rows;
}

}  // namespace

KvCache::KvCache(const AttentionShape& shape)
    : shape_(shape), keys_(shape.num_kv_heads), values_(shape.num_kv_heads) {
  CheckShape(shape);
}

int64_t KvCache::value_stride() const { return RoundUp(shape_.head_dim); }

int64_t KvCache::resident_bytes() const {
  size_t floats = 0;
  for (const auto& k : keys_) floats += k.capacity();
  for (const auto& v : values_) floats += v.capacity();
  return static_cast<int64_t>(floats * sizeof(float));
}

void KvCache::Append(MatrixView<const float> k, MatrixView<const float> v) {
  const int64_t dim = shape_.head_dim;
  MSA_CHECK(k.rows == v.rows && k.cols == shape_.num_kv_heads * dim && v.cols == k.cols);
  for (int64_t g = 0; g < shape_.num_kv_heads; ++g) {
    // Whole tiles, because kernels read whole tiles; what lies past size_ is never attended to.
    keys_[g].resize(RoundUp(size_ + k.rows) * dim);
    values_[g].resize((size_ + k.rows) * value_stride());
    for (int64_t i = 0; i < k.rows; ++i) {
      const int64_t s = size_ + i;
      const float* key = k.row(i).data() + g * dim;
      float* column = keys_[g].data() + s / kKeyTile * kKeyTile * dim + s % kKeyTile;
      for (int64_t j = 0; j < dim; ++j) column[j * kKeyTile] = key[j];
      std::copy_n(v.row(i).data() + g * dim, dim, values_[g].data() + s * value_stride());
    }
  }
  size_ += k.rows;
}

void KvCache::Truncate(int64_t size) {
  MSA_CHECK(size >= 0 && size <= size_);
  size_ = size;
}

void AttendPassages(const AttentionShape& shape, MatrixView<const float> q,
                    MatrixView<const float> k, MatrixView<const float> v,
                    std::span<const int64_t> passage_begin, MatrixView<float> out, Isa isa) {
  CheckShape(shape);
  MSA_CHECK(q.cols == shape.num_heads * shape.head_dim && out.cols == q.cols &&
            out.rows == q.rows && k.rows == q.rows);
  MSA_CHECK(!passage_begin.empty() && passage_begin.front() == 0 && passage_begin.back() == q.rows);
  const AttendKernel& kernel = KernelFor(isa);
  KvCache cache(shape);
  for (size_t p = 0; p + 1 < passage_begin.size(); ++p) {
    const int64_t begin = passage_begin[p], count = passage_begin[p + 1] - begin;
    MSA_CHECK(count >= 0);
    cache.Truncate(0);
    cache.Append({k.data + begin * k.stride, count, k.cols, k.stride},
                 {v.data + begin * v.stride, count, v.cols, v.stride});
    for (int64_t g = 0; g < shape.num_kv_heads; ++g) {
      const AttendRows queries = QueriesOf(shape, g, q.data + begin * q.stride, q.stride,
                                           out.data + begin * out.stride, out.stride, 1);
      kernel.attend(RowsOf(cache, g, queries), 0, count * queries.group);
    }
  }
}

void AttendCache(MatrixView<const float> q, const KvCache& cache, std::span<const float> bias,
                 MatrixView<float> out, ThreadPool* pool, Isa isa) {
  const AttentionShape& shape = cache.shape();
  MSA_CHECK(q.cols == shape.num_heads * shape.head_dim && out.cols == q.cols &&
            out.rows == q.rows && q.rows <= cache.size() && std::ssize(bias) <= cache.size());
  const AttendKernel& kernel = KernelFor(isa);
  const int64_t rows = q.rows * (shape.num_heads / shape.num_kv_heads);
  const int64_t blocks = (rows + kernel.rows_at_once - 1) / kernel.rows_at_once;
  const auto attend = [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t g = task / blocks, first = task % blocks * kernel.rows_at_once;
      AttendRows a = RowsOf(
          cache, g,
          QueriesOf(shape, g, q.data, q.stride, out.data, out.stride, cache.size() - q.rows + 1));
      a.bias = bias.data();
      a.num_bias = std::ssize(bias);
      kernel.attend(a, first, std::min(first + kernel.rows_at_once, rows));
    }
  };
  const int64_t tasks = shape.num_kv_heads * blocks;
  if (pool == nullptr) return attend(0, tasks, 0);
  pool->ParallelFor(tasks, 1, attend);
}

}  // namespace msa
