#include "msa/kernels/route.h"

#include <cmath>
#include <string>

#include "msa/base/check.h"
#include "msa/kernels/cpu/route.h"
#include "msa/kernels/ref/route.h"

namespace msa {
namespace {

void CheckShapes(std::span<const RouterKeysView> runs, MatrixView<const float> queries,
                 std::span<const int64_t> token_begin, int64_t k, MatrixView<RouteHit> hits) {
  MSA_CHECK(k >= 1 && hits.cols == k);
  MSA_CHECK(token_begin.size() == static_cast<size_t>(hits.rows) + 1);
  MSA_CHECK(token_begin.front() == 0 && token_begin.back() == queries.rows);
  for (size_t q = 0; q + 1 < token_begin.size(); ++q)
    MSA_CHECK(token_begin[q] <= token_begin[q + 1]);
  for (const RouterKeysView& run : runs) {
    MSA_CHECK(run.key_dim == queries.cols && run.key_dim % 16 == 0);
    MSA_CHECK(run.dtype == DType::kF32 || run.dtype == DType::kBF16 || run.dtype == DType::kF16 ||
              run.dtype == DType::kI8);
    MSA_CHECK(run.num_passages >= 0 && run.chunk_begin != nullptr);
    MSA_CHECK(run.num_passages == 0 || (run.dtype == DType::kI8) == (run.scales != nullptr));
  }
}

Status CheckFinite(MatrixView<const float> queries) {
  for (int64_t t = 0; t < queries.rows; ++t) {
    for (int64_t e = 0; e < queries.cols; ++e) {
      if (!std::isfinite(queries.row(t)[e]))
        return InvalidArgument("route: query token " + std::to_string(t) + ", element " +
                               std::to_string(e) + " is " + std::to_string(queries.row(t)[e]));
    }
  }
  return OkStatus();
}

}  // namespace

int64_t RouteScratchBytes(int64_t num_query_tokens, int64_t key_dim, int64_t num_questions,
                          int64_t k, int num_threads) {
#if defined(__x86_64__)
  return cpu::RouteScratchBytes(num_query_tokens, key_dim, num_questions, k, num_threads);
#else
  return 0;
#endif
}

Status RouteTopK(std::span<const RouterKeysView> runs, MatrixView<const float> queries,
                 std::span<const int64_t> token_begin, int64_t k, std::span<std::byte> scratch,
                 MatrixView<RouteHit> hits, ThreadPool* pool, Isa isa) {
  MSA_CHECK(IsaSupported(isa));
  CheckShapes(runs, queries, token_begin, k, hits);
  MSA_RETURN_IF_ERROR(CheckFinite(queries));
  const int64_t needed =
      RouteScratchBytes(queries.rows, queries.cols, hits.rows, k, pool ? pool->num_threads() : 1);
  if (static_cast<int64_t>(scratch.size()) < needed)
    return ResourceExhausted("route: scratch of " + std::to_string(scratch.size()) +
                             " bytes, needs " + std::to_string(needed));
#if defined(__x86_64__)
  if (isa != Isa::kReference) {
    cpu::RouteTopK(runs, queries, token_begin, k, scratch, hits, pool, isa);
    return OkStatus();
  }
#endif
  ref::RouteTopK(runs, queries, token_begin, k, hits);
  return OkStatus();
}

}  // namespace msa
