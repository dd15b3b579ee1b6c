// Rotation of routing keys before they are stored in 8 bits. A few dimensions of a key are much
// larger than the others, take all of a row's scale, and leave the others a handful of steps; after
// a Hadamard transform every dimension holds a share of all. The transform is orthogonal: a
// question rotated likewise has the same dot products with the keys.
#pragma once

#include "msa/base/dtype.h"
#include "msa/base/matrix.h"

namespace msa {

// Whether a bank holds keys of this dtype rotated. Only kI8: it costs the others nothing to be
// plain.
inline bool StoresKeysRotated(DType dtype) { return dtype == DType::kI8; }

// Multiplies each run of B values of each row by the normalised Walsh-Hadamard matrix (Sylvester's
// order), B the largest power of two that divides x.cols; it is its own inverse. In f32, B log2 B
// sums a run; the same bits on every machine.
void RotateRows(MatrixView<float> x);

}  // namespace msa
