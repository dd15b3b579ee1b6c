// Pooling compresses the tokens of a chunk into one latent; see design.md, Encode.
#pragma once

#include <cstdint>
#include <span>

#include "msa/base/dtype.h"
#include "msa/base/matrix.h"
#include "msa/kernels/isa.h"

namespace msa {

// out[c, :] = weighted mean of rows chunk_begin[c] .. chunk_begin[c + 1] - 1 of x.
//   x [tokens, heads * dim] f32; weights [tokens, heads] f32, already normalised over each chunk,
//   or empty: the mean out [chunks, heads * dim] f32
// An empty chunk is a bug. Sums in f32, in token order; the same on every Isa.
void PoolChunks(MatrixView<const float> x, std::span<const float> weights, int64_t heads,
                std::span<const int64_t> chunk_begin, MatrixView<float> out, Isa isa = BestIsa());

// out[c, :] += mean over the rows t of chunk c of position[t - chunk_begin[c], :] * x[t, :].
//   x [tokens, cols]; position [at least the longest chunk, cols]; out [chunks, cols]
// An empty chunk is a bug. Sums in f32, in token order; the same on every Isa.
void AddPositionedMeans(MatrixView<const float> x, MatrixView<const float> position,
                        std::span<const int64_t> chunk_begin, MatrixView<float> out,
                        Isa isa = BestIsa());

// Divides each run of `dim` values of each row by its L2 norm (at least 1e-12). The same on every
// Isa.
void NormaliseHeads(MatrixView<float> x, int64_t dim, Isa isa = BestIsa());

// Converts rows of f32 to `dtype`. kI8: symmetric, one scale for each `group` values of a row
// (scales [rows, cols / group]); else scales is unused. Round to nearest even. An all-zero group
// has scale 0, one with a NaN or an infinity has scale NaN: a key of it scores -inf, as in f32.
void StoreRows(MatrixView<const float> x, DType dtype, int64_t group, void* out, float* scales,
               Isa isa = BestIsa());
// The inverse: `rows` rows of `cols` values of `dtype` to f32.
void LoadRows(const void* in, const float* scales, DType dtype, int64_t group,
              MatrixView<float> out, Isa isa = BestIsa());

}  // namespace msa
