#include "msa/kernels/cuda/train_ops.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace msa::cuda {
namespace {

constexpr int kVector = 8;  // bf16 values of one 16-byte access
constexpr int kThreads = 256;

struct alignas(16) Vector {
  __nv_bfloat16 values[kVector];
};

__device__ Vector Load(const void* base, int64_t element) {
  return *reinterpret_cast<const Vector*>(static_cast<const __nv_bfloat16*>(base) + element);
}

__device__ void Store(void* base, int64_t element, const Vector& vector) {
  *reinterpret_cast<Vector*>(static_cast<__nv_bfloat16*>(base) + element) = vector;
}

int64_t Blocks(int64_t threads) { return (threads + kThreads - 1) / kThreads; }

__device__ int64_t ThreadIndex() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ float Silu(float x) { return x / (1 + __expf(-x)); }

// One thread turns 8 pairs.
__global__ void RotateKernel(RotateParams p, int64_t count) {
  const int64_t index = ThreadIndex();
  if (index >= count) return;
  const int half = p.dim / 2;
  const int steps = half / kVector;
  const int at = static_cast<int>(index % steps) * kVector;
  const int64_t head_index = index / steps;
  const int64_t row = head_index / p.heads;
  const int64_t head = head_index % p.heads;
  const int64_t from = row * p.row_stride + head * p.dim + at;
  const int64_t to = head_index * p.dim + at;
  const Vector x1 = Load(p.x, from);
  const Vector x2 = Load(p.x, from + half);
  Vector y1, y2;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const float cos = p.cos[row * half + at + i];
    const float sin = p.sign * p.sin[row * half + at + i];
    const float a = __bfloat162float(x1.values[i]);
    const float b = __bfloat162float(x2.values[i]);
    y1.values[i] = __float2bfloat16(a * cos - b * sin);
    y2.values[i] = __float2bfloat16(b * cos + a * sin);
  }
  Store(p.out, to, y1);
  Store(p.out, to + half, y2);
}

__global__ void GatedSiluKernel(const void* gate_up, void* out, int64_t width, int64_t count) {
  const int64_t index = ThreadIndex();
  if (index >= count) return;
  const int64_t steps = width / kVector;
  const int64_t row = index / steps;
  const int64_t at = index % steps * kVector;
  const Vector gate = Load(gate_up, row * 2 * width + at);
  const Vector up = Load(gate_up, row * 2 * width + width + at);
  Vector y;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    y.values[i] =
        __float2bfloat16(Silu(__bfloat162float(gate.values[i])) * __bfloat162float(up.values[i]));
  }
  Store(out, row * width + at, y);
}

__global__ void GatedSiluBackwardKernel(const void* gate_up, const void* grad_out, void* gradient,
                                        void* out, int64_t width, int64_t count) {
  const int64_t index = ThreadIndex();
  if (index >= count) return;
  const int64_t steps = width / kVector;
  const int64_t row = index / steps;
  const int64_t at = index % steps * kVector;
  const int64_t gate_at = row * 2 * width + at;
  const Vector gate = Load(gate_up, gate_at);
  const Vector up = Load(gate_up, gate_at + width);
  const Vector grad = Load(grad_out, row * width + at);
  Vector grad_gate, grad_up, y;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const float g = __bfloat162float(gate.values[i]);
    const float u = __bfloat162float(up.values[i]);
    const float dy = __bfloat162float(grad.values[i]);
    const float sigmoid = 1 / (1 + __expf(-g));
    grad_gate.values[i] = __float2bfloat16(dy * u * sigmoid * (1 + g * (1 - sigmoid)));
    grad_up.values[i] = __float2bfloat16(dy * g * sigmoid);
    y.values[i] = __float2bfloat16(g * sigmoid * u);
  }
  Store(gradient, gate_at, grad_gate);
  Store(gradient, gate_at + width, grad_up);
  if (out != nullptr) Store(out, row * width + at, y);
}

// The running maximum and the sum of exponentials relative to it; empty: -inf and 0.
struct LogSum {
  float max = -INFINITY;
  float sum = 0;

  __device__ void Add(float x) {
    if (x > max) {
      sum *= __expf(max - x);
      max = x;
    }
    sum += __expf(x - max);
  }
  __device__ void Merge(float other_max, float other_sum) {
    const float larger = fmaxf(max, other_max);
    if (larger == -INFINITY) return;
    sum = sum * __expf(max - larger) + other_sum * __expf(other_max - larger);
    max = larger;
  }
};

// One block a row: a row of 49,152 classes is 96 KB, and two a processor stay in L2 between the
// two passes.
__global__ void CrossEntropyKernel(void* logits, const int64_t* targets, const float* weights,
                                   float* nll, int64_t classes) {
  const int64_t row = blockIdx.x;
  const int64_t begin = row * classes;
  LogSum sum;
  for (int64_t at = threadIdx.x * kVector; at < classes; at += blockDim.x * kVector) {
    const Vector x = Load(logits, begin + at);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum.Add(__bfloat162float(x.values[i]));
  }
  __shared__ float maxima[32], sums[32];
  for (int step = 16; step > 0; step /= 2) {
    const float other_max = __shfl_xor_sync(0xffffffff, sum.max, step);
    const float other_sum = __shfl_xor_sync(0xffffffff, sum.sum, step);
    sum.Merge(other_max, other_sum);
  }
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) {
    maxima[warp] = sum.max;
    sums[warp] = sum.sum;
  }
  __syncthreads();
  sum = LogSum();
  for (int i = 0; i < blockDim.x / 32; ++i) sum.Merge(maxima[i], sums[i]);
  const float log_sum = sum.max + __logf(sum.sum);
  const int64_t target = targets[row];
  const float weight = weights[row];
  if (threadIdx.x == 0) {
    nll[row] = log_sum - __bfloat162float(static_cast<__nv_bfloat16*>(logits)[begin + target]);
  }
  __syncthreads();
  for (int64_t at = threadIdx.x * kVector; at < classes; at += blockDim.x * kVector) {
    Vector x = Load(logits, begin + at);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float p = __expf(__bfloat162float(x.values[i]) - log_sum);
      x.values[i] = __float2bfloat16(weight * (p - (at + i == target ? 1.0f : 0.0f)));
    }
    Store(logits, begin + at, x);
  }
}

cudaStream_t Of(Stream stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

int Rotate(const RotateParams& p, Stream stream) {
  const int64_t count = p.rows * p.heads * (p.dim / 2 / kVector);
  if (count == 0) return 0;
  RotateKernel<<<Blocks(count), kThreads, 0, Of(stream)>>>(p, count);
  return cudaGetLastError();
}

int GatedSilu(const void* gate_up, void* out, int64_t rows, int64_t width, Stream stream) {
  const int64_t count = rows * (width / kVector);
  if (count == 0) return 0;
  GatedSiluKernel<<<Blocks(count), kThreads, 0, Of(stream)>>>(gate_up, out, width, count);
  return cudaGetLastError();
}

int GatedSiluBackward(const void* gate_up, const void* grad_out, void* gradient, void* out,
                      int64_t rows, int64_t width, Stream stream) {
  const int64_t count = rows * (width / kVector);
  if (count == 0) return 0;
  GatedSiluBackwardKernel<<<Blocks(count), kThreads, 0, Of(stream)>>>(gate_up, grad_out, gradient,
                                                                      out, width, count);
  return cudaGetLastError();
}

int CrossEntropy(void* logits, const int64_t* targets, const float* weights, float* nll,
                 int64_t rows, int64_t classes, Stream stream) {
  if (rows == 0) return 0;
  CrossEntropyKernel<<<rows, 512, 0, Of(stream)>>>(logits, targets, weights, nll, classes);
  return cudaGetLastError();
}

}  // namespace msa::cuda
