// Routing picks the passages a question may read.
//
// A passage scores as the best dot product between the folded query and any of its chunk keys.
// Folding (design.md, Route) has already turned heads and routing layers into one vector of length
// E, so the whole of routing is one pass over the keys, bound by reading them once. Equal scores go
// to the smaller PassageId, so on one backend the answer does not depend on thread count or on the
// order of segments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "msa/base/dtype.h"
#include "msa/base/ids.h"
#include "msa/base/matrix.h"
#include "msa/base/status.h"
#include "msa/base/threads.h"
#include "msa/kernels/isa.h"

namespace msa {

// A contiguous run of routing keys (a segment's, or the tail's). Borrowed: valid while the snapshot
// lives. A passage stands in one run.
struct RouterKeysView {
  DType dtype;           // kF32, kBF16, kF16, or kI8 with `scales`
  int64_t num_passages;  // passages that this run holds
  int64_t key_dim;       // E = R*G*D, multiple of 16
  const void* keys;      // [N, E] row-major, rows back to back; 64-byte aligned base is fastest,
                         // an element's own alignment suffices
  const float* scales;   // [N], kI8 only, else null: key = scale * integers
  // [num_passages + 1], ascending; chunks of p: chunk_begin[p] to chunk_begin[p + 1] - 1
  const int64_t* chunk_begin;
  const PassageId* passage_ids;  // [num_passages], ascending
  const uint8_t* visible;        // bitmap over passages, bit p % 8 of byte p / 8; null: all are

  bool IsVisible(int64_t p) const {
    return visible == nullptr || ((visible[p / 8] >> (p % 8)) & 1) != 0;
  }
};

struct RouteHit {
  PassageId passage;
  float score;
};

// Scratch for RouteTopK, bytes.
int64_t RouteScratchBytes(int64_t num_query_tokens, int64_t key_dim, int64_t num_questions,
                          int64_t k, int num_threads);

// Writes the best `k` passages of each question over all `runs`, best first.
//   queries [M, E] f32, folded (not unit length); token_begin [Q + 1] separates the
//   questions, the tokens of one question give one ranking (their maximum)
//   hits [Q, k], tail filled with {kNoPassage, -inf} if fewer passages are visible
// A passage that scores -inf is no hit: one without chunks, or whose dot products are all NaN or
// -inf (a NaN key). Requires k >= 1 and queries.cols == key_dim of every run (checked: a bug, not a
// Status). Fails with kInvalidArgument on a query that is not finite, kResourceExhausted if scratch
// is below RouteScratchBytes. On failure `hits` is unspecified.
//
// Exact but for rounding: products and sums in f32 (an int8 key with the query as int16, integer
// sums). The same bits whatever the threads, the order and the cut of the runs; a token's last bits
// may depend on how many others stand beside it. Threads: concurrent calls need separate scratch
// and pools. `pool` null: the calling thread alone.
// Cost: one pass over the visible keys, bound by reading them for few tokens, by arithmetic beyond.
[[nodiscard]] Status RouteTopK(std::span<const RouterKeysView> runs,
                               MatrixView<const float> queries,
                               std::span<const int64_t> token_begin, int64_t k,
                               std::span<std::byte> scratch, MatrixView<RouteHit> hits,
                               ThreadPool* pool, Isa isa = BestIsa());

}  // namespace msa
