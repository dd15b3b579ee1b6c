// Adds a low-rank update to a weight matrix: what an adapter costs, once, when a model is loaded.
#pragma once

#include "msa/base/matrix.h"
#include "msa/kernels/isa.h"

namespace msa {

// w [outputs, inputs] += b^T a, with a [rank, inputs] and b [rank, outputs]. Sums over the rank in
// its order, in f32; from AVX2 on whole tiles fuse multiply and add.
void AddLowRank(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> w,
                Isa isa = BestIsa());

}  // namespace msa
