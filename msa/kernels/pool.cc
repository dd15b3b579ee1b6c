#include "msa/kernels/pool.h"

#include <algorithm>
#include <cmath>

#include "msa/base/check.h"
#include "msa/kernels/convert.h"

namespace msa {

// Pooling and normalising pass once over what the encoder's products have just written, thousands
// of times less work than those products: plain loops, which the compiler vectorises, on every Isa.

void PoolChunks(MatrixView<const float> x, std::span<const float> weights, int64_t heads,
                std::span<const int64_t> chunk_begin, MatrixView<float> out, Isa) {
  MSA_CHECK(heads > 0 && x.cols % heads == 0 && out.cols == x.cols);
  MSA_CHECK(chunk_begin.size() == static_cast<size_t>(out.rows) + 1);
  MSA_CHECK(weights.empty() || static_cast<int64_t>(weights.size()) == x.rows * heads);
  MSA_CHECK(chunk_begin.front() >= 0 && chunk_begin.back() <= x.rows);
  const int64_t dim = x.cols / heads;
  for (int64_t c = 0; c < out.rows; ++c) {
    const int64_t begin = chunk_begin[c], end = chunk_begin[c + 1];
    MSA_CHECK(begin < end);
    float* sum = out.row(c).data();
    std::fill_n(sum, x.cols, 0.0f);
    for (int64_t t = begin; t < end; ++t) {
      const float* token = x.row(t).data();
      for (int64_t h = 0; h < heads; ++h) {
        const float weight = weights.empty() ? 1.0f : weights[t * heads + h];
        for (int64_t d = h * dim; d < (h + 1) * dim; ++d) sum[d] += weight * token[d];
      }
    }
    if (weights.empty()) {
      const auto count = static_cast<float>(end - begin);
      for (int64_t d = 0; d < x.cols; ++d) sum[d] /= count;
    }
  }
}

void AddPositionedMeans(MatrixView<const float> x, MatrixView<const float> position,
                        std::span<const int64_t> chunk_begin, MatrixView<float> out, Isa) {
  MSA_CHECK(position.cols == x.cols && out.cols == x.cols);
  MSA_CHECK(chunk_begin.size() == static_cast<size_t>(out.rows) + 1);
  MSA_CHECK(chunk_begin.front() >= 0 && chunk_begin.back() <= x.rows);
  for (int64_t c = 0; c < out.rows; ++c) {
    const int64_t begin = chunk_begin[c], end = chunk_begin[c + 1];
    MSA_CHECK(begin < end && end - begin <= position.rows);
    const float share = 1.0f / static_cast<float>(end - begin);
    float* sum = out.row(c).data();
    for (int64_t t = begin; t < end; ++t) {
      const float* token = x.row(t).data();
      const float* g = position.row(t - begin).data();
      for (int64_t d = 0; d < x.cols; ++d) sum[d] += share * g[d] * token[d];
    }
  }
}

void NormaliseHeads(MatrixView<float> x, int64_t dim, Isa) {
  MSA_CHECK(dim > 0 && x.cols % dim == 0);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t begin = 0; begin < x.cols; begin += dim) {
      const std::span<float> head = x.row(r).subspan(begin, dim);
      double squares = 0;
      for (float value : head) squares += static_cast<double>(value) * value;
      const auto norm = static_cast<float>(std::max(std::sqrt(squares), 1e-12));
      for (float& value : head) value /= norm;
    }
  }
}

void StoreRows(MatrixView<const float> x, DType dtype, int64_t group, void* out, float* scales,
               Isa isa) {
  const bool scaled = dtype == DType::kI8;
  if (!scaled) group = x.cols;
  MSA_CHECK(x.cols == 0 || (group > 0 && x.cols % group == 0));
  MSA_CHECK(!scaled || scales != nullptr || x.rows == 0);
  const auto store = ChooseConversion(dtype, isa).store;
  auto* to = static_cast<std::byte*>(out);
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t begin = 0; begin < x.cols; begin += group) {
      store(x.row(r).data() + begin, group, to, scales);
      to += group * DTypeSize(dtype);
      if (scaled) ++scales;
    }
  }
}

void LoadRows(const void* in, const float* scales, DType dtype, int64_t group,
              MatrixView<float> out, Isa isa) {
  const bool scaled = dtype == DType::kI8;
  if (!scaled) group = out.cols;
  MSA_CHECK(out.cols == 0 || (group > 0 && out.cols % group == 0));
  MSA_CHECK(!scaled || scales != nullptr || out.rows == 0);
  const auto load = ChooseConversion(dtype, isa).load;
  const auto* from = static_cast<const std::byte*>(in);
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t begin = 0; begin < out.cols; begin += group) {
      load(from, group, scaled ? *scales++ : 1.0f, out.row(r).data() + begin);
      from += group * DTypeSize(dtype);
    }
  }
}

}  // namespace msa
