// Routing as route.h defines it, in plain loops: what tests hold every other kernel against.
#pragma once

#include <cstdint>
#include <span>

#include "msa/kernels/route.h"

namespace msa::ref {

// As msa::RouteTopK, its arguments already checked. Needs no scratch.
void RouteTopK(std::span<const RouterKeysView> runs, MatrixView<const float> queries,
               std::span<const int64_t> token_begin, int64_t k, MatrixView<RouteHit> hits);

// The score of key `row` of a run for one query token, -inf if it is NaN.
float RouteScore(const RouterKeysView& run, int64_t row, std::span<const float> query);

}  // namespace msa::ref
