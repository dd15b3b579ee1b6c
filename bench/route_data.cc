#include "route_data.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "msa/base/check.h"
#include "msa/base/file.h"
#include "msa/kernels/pool.h"

namespace msa::bench {

Result<std::vector<float>> ReadRows(const std::string& path, int64_t dim) {
  MSA_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  const auto row_bytes = static_cast<size_t>(dim) * sizeof(float);
  if (bytes.size() % row_bytes != 0)
    return InvalidArgument(path + ": " + std::to_string(bytes.size()) + " bytes are no rows of " +
                           std::to_string(dim) + " f32");
  std::vector<float> rows(bytes.size() / sizeof(float));
  std::memcpy(rows.data(), bytes.data(), bytes.size());
  return rows;
}

std::vector<float> RandomUnitRows(int64_t rows, int64_t dim, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * dim));
  for (float& x : values) x = normal(random);
  NormaliseHeads({values.data(), rows, dim}, dim);
  return values;
}

void KeySet::FreeAligned::operator()(std::byte* p) const { std::free(p); }

KeySet::KeySet(MatrixView<const float> keys, DType dtype, int64_t chunks_per_passage)
    : dtype_(dtype), dim_(keys.cols) {
  constexpr size_t kPage = 4096;
  const auto size = static_cast<size_t>(keys.rows * dim_ * DTypeSize(dtype));
  keys_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, (size / kPage + 1) * kPage)));
  MSA_CHECK(keys_ != nullptr);
  if (dtype == DType::kI8) scales_.resize(static_cast<size_t>(keys.rows));
  StoreRows(keys, dtype, dim_, keys_.get(), scales_.data());
  for (int64_t row = 0; row < keys.rows; row += chunks_per_passage) {
    passages_.push_back(PassageId{row / chunks_per_passage});
    chunk_begin_.push_back(row);
  }
  chunk_begin_.push_back(keys.rows);
}

RouterKeysView KeySet::View(int64_t num_passages) const {
  return {.dtype = dtype_,
          .num_passages = num_passages,
          .key_dim = dim_,
          .keys = keys_.get(),
          .scales = scales_.empty() ? nullptr : scales_.data(),
          .chunk_begin = chunk_begin_.data(),
          .passage_ids = passages_.data(),
          .visible = nullptr};
}

Question::Question(MatrixView<const float> queries, int64_t k, ThreadPool* pool)
    : queries_(queries),
      token_begin_{0, queries.rows},
      pool_(pool),
      scratch_(static_cast<size_t>(
          RouteScratchBytes(queries.rows, queries.cols, 1, k, pool ? pool->num_threads() : 1))),
      hits_(static_cast<size_t>(k)) {}

const std::vector<RouteHit>& Question::Route(const RouterKeysView& keys, Isa isa) {
  const auto k = static_cast<int64_t>(hits_.size());
  const Status status =
      RouteTopK({&keys, 1}, queries_, token_begin_, k, scratch_, {hits_.data(), 1, k}, pool_, isa);
  MSA_CHECK(status.ok());
  return hits_;
}

}  // namespace msa::bench
