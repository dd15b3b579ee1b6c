// Runs of elements between f32 and the stored types: what StoreRows, LoadRows and GatherLatents are
// loops over. One choice of implementation a call, one function call a run of at least a head.
#pragma once

#include <cstdint>

#include "msa/base/dtype.h"
#include "msa/kernels/isa.h"

namespace msa {

struct RunConversion {
  // Writes `count` values of the dtype; kI8 also its scale, max |x| / 127. A run of zeros, or of
  // nothing above 4e-37, whose scale has no finite inverse, becomes zeros with scale 0; one with a
  // NaN or an infinity becomes zeros with scale NaN, so that nothing computed from it looks valid.
  void (*store)(const float* in, int64_t count, void* out, float* scale);
  // The inverse; `scale` is kI8's.
  void (*load)(const void* in, int64_t count, float scale, float* out);
};

// Equal bit for bit on every Isa (but for the payload of a NaN). REQUIRES: dtype is kF32, kF16,
// kBF16 or kI8.
RunConversion ChooseConversion(DType dtype, Isa isa);

namespace ref {
RunConversion Conversion(DType dtype);
}
namespace cpu {
RunConversion ConversionAvx2(DType dtype);  // AVX2 already runs at the speed of memory
}

}  // namespace msa
