// Routing on x86: what route.cc calls for every Isa but the reference.
#pragma once

#include <cstdint>
#include <span>

#include "msa/kernels/route.h"

namespace msa::cpu {

int64_t RouteScratchBytes(int64_t num_query_tokens, int64_t key_dim, int64_t num_questions,
                          int64_t k, int num_threads);

// As msa::RouteTopK, its arguments already checked. REQUIRES: IsaSupported(isa), not kReference.
void RouteTopK(std::span<const RouterKeysView> runs, MatrixView<const float> queries,
               std::span<const int64_t> token_begin, int64_t k, std::span<std::byte> scratch,
               MatrixView<RouteHit> hits, ThreadPool* pool, Isa isa);

}  // namespace msa::cpu
