// What training computes between matrix products, each in one pass over memory: these steps are
// bound by bandwidth, and libtorch's own would read and write every row several times.
//
// bf16 rows in device memory, 16-byte aligned, sizes in multiples of 8; arithmetic in f32. Launches
// on `stream`, never synchronises, never allocates. Each returns the launch's error, 0 if none.
#pragma once

#include <cstdint>

namespace msa::cuda {

using Stream = void*;  // cudaStream_t; null: the default stream

// Turns each head by its row's angles: out = x * cos + sign * (-x2, x1) * sin.
struct RotateParams {
  const void* x;     // [rows, heads, dim] bf16, rows `row_stride` elements apart
  void* out;         // [rows, heads, dim] bf16, contiguous
  const float* cos;  // [rows, dim / 2]
  const float* sin;  // [rows, dim / 2]
  int64_t rows;
  int64_t row_stride;
  int heads;
  int dim;     // a multiple of 16
  float sign;  // 1, or -1 to turn back
};
int Rotate(const RotateParams& params, Stream stream);

// out = silu(gate) * up; gate_up [rows, 2 * width], gate before up; out [rows, width].
int GatedSilu(const void* gate_up, void* out, int64_t rows, int64_t width, Stream stream);
// gradient [rows, 2 * width] of the above, from that of its output, grad_out [rows, width]; and its
// output once more in `out`, unless that is null.
int GatedSiluBackward(const void* gate_up, const void* grad_out, void* gradient, void* out,
                      int64_t rows, int64_t width, Stream stream);

// Softmax cross entropy of logits [rows, classes], in place: logits become weight * (softmax - 1 at
// the target), the gradient of weight * nll. nll [rows] f32, natural logarithm.
int CrossEntropy(void* logits, const int64_t* targets, const float* weights, float* nll,
                 int64_t rows, int64_t classes, Stream stream);

}  // namespace msa::cuda
