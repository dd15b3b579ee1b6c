// What the routing benchmarks share: keys from a file or a seed, stored in any key dtype, and one
// question routed over them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "msa/base/dtype.h"
#include "msa/base/matrix.h"
#include "msa/base/status.h"
#include "msa/kernels/route.h"

namespace msa::bench {

// Rows of f32 as numpy's tofile() writes them. kInvalidArgument if the file is no whole number of
// rows.
Result<std::vector<float>> ReadRows(const std::string& path, int64_t dim);
// Rows of length 1, directions uniform.
std::vector<float> RandomUnitRows(int64_t rows, int64_t dim, uint32_t seed);

// Keys in one dtype, as a bank would hold them.
class KeySet {
 public:
  KeySet(MatrixView<const float> keys, DType dtype, int64_t chunks_per_passage);
  // The first `num_passages` passages.
  RouterKeysView View(int64_t num_passages) const;
  RouterKeysView View() const { return View(static_cast<int64_t>(passages_.size())); }
  int64_t num_rows() const { return chunk_begin_.back(); }
  int64_t bytes() const { return num_rows() * dim_ * DTypeSize(dtype_); }

 private:
  struct FreeAligned {
    void operator()(std::byte* p) const;
  };
  DType dtype_;
  int64_t dim_;
  std::unique_ptr<std::byte[], FreeAligned> keys_;  // on a page
  std::vector<float> scales_;
  std::vector<int64_t> chunk_begin_;
  std::vector<PassageId> passages_;
};

// The best k passages of one question of queries.rows tokens. Keeps its scratch between calls.
class Question {
 public:
  Question(MatrixView<const float> queries, int64_t k, ThreadPool* pool);
  const std::vector<RouteHit>& Route(const RouterKeysView& keys, Isa isa);

 private:
  MatrixView<const float> queries_;
  int64_t token_begin_[2];
  ThreadPool* pool_;
  std::vector<std::byte> scratch_;
  std::vector<RouteHit> hits_;
};

}  // namespace msa::bench
