// Between the routing driver (cpu/route.cc: pieces, threads, heaps) and the arithmetic of each Isa:
// the scores of a small block of keys, one call a block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "msa/kernels/isa.h"
#include "msa/kernels/route.h"

namespace msa {

// Rows a call scores at most: a multiple of every tile height (16 and 8 rows for few tokens, 12 and
// 6 for many), with its candidates in one 64-bit mask. 48 rows of 192 f32 are 36 KB.
inline constexpr int64_t kRouteBlockRows = 48;
inline constexpr int64_t kRouteMaxTileRows = 12;

// Query tokens in the layouts the kernels read. A few tokens each run along the key ("by rows": E
// products end in one sum); more are held side by side in lanes, so that a loaded key element meets
// 8 to 32 tokens at once. `units` of 32 bits: one f32, or two int16.
//   by rows:  [tokens][E]
//   in lanes: [groups][units][lanes], tokens padded with zeros to whole groups
//
// int8 keys meet the query as int16: twice the work of int8, but the query's rounding then vanishes
// beside the keys' own. The scale keeps sum |q| * 128 below 2^31, so integer sums are exact.
struct RouteQueries {
  int64_t num_tokens = 0;
  int64_t key_dim = 0;
  int64_t lanes = 1;       // tokens of a group; 1: by rows
  int64_t num_groups = 0;  // by rows: num_tokens
  const float* f32 = nullptr;
  const int16_t* i16 = nullptr;
  const float* i16_scales = nullptr;  // [num_groups * lanes]: q = scale * integers

  int64_t padded_tokens() const { return num_groups * lanes; }
  // score of row r of the block for token t: scores[r * row_stride + t * token_stride]
  int64_t row_stride() const { return lanes == 1 ? 1 : padded_tokens(); }
  int64_t token_stride() const { return lanes == 1 ? kRouteBlockRows : 1; }
};

// Scores keys [row, row + rows) of `run`, 1 <= rows <= kRouteBlockRows. Returns the rows (bit r:
// row + r) where some token's score is at least its threshold; a NaN is not.
//   thresholds [padded_tokens], +inf for the padding
//   decoded: kRouteMaxTileRows * E floats of scratch
//   scores: kRouteBlockRows * padded_tokens floats; written for all rows of the mask
using ScoreRouteBlock = uint64_t (*)(const RouteQueries& queries, const RouterKeysView& run,
                                     int64_t row, int64_t rows, const float* thresholds,
                                     float* decoded, float* scores);

struct RouteBlockKernel {
  ScoreRouteBlock score;
  int64_t lanes;           // tokens of a group
  int64_t max_row_tokens;  // more tokens than this go into lanes
};

extern const RouteBlockKernel kRouteBlockAvx2;
extern const RouteBlockKernel kRouteBlockAvx512;
inline constexpr int64_t kRouteMaxLanes = 16;

}  // namespace msa
