// The differentiable steps that libtorch has not, or not in one pass. On a CPU they are plain
// libtorch in the inputs' type; on a GPU in bf16 they are the kernels of msa/kernels/cuda.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "msa/train/token_rows.h"

namespace msa {

// Each head of x [T, heads, D] turned by its row's angles. cos, sin [T, D / 2] f32.
at::Tensor RotateHeads(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// (silu(gate) * up) down^T: gate_up [T, 2 I], gate before up; down [hidden, I]. The product of the
// two is computed again when going back: keeping it would take a fifth of a layer's memory.
at::Tensor GatedProduct(const at::Tensor& gate_up, const at::Tensor& down);

// values [T, …] in a new order: row i is values[index[i]]. Of the first n rows of values each
// stands at place[i], and takes its gradient from there alone; the others take none. For copies
// whose gradient is known to be 0, beside one that has it: a sum over all of them would be atomic.
at::Tensor GatherRows(const at::Tensor& values, const at::Tensor& index, const at::Tensor& place);

// Sequences of queries and of keys side by side: sequence i of one attends to sequence i of the
// other.
struct AttentionRows {
  at::Tensor begin;              // [n + 1] i32, on the device
  std::vector<int64_t> lengths;  // n, at least 1
  int64_t longest = 0;

  static AttentionRows Of(const std::vector<int64_t>& lengths, at::Device device);
};

// Causal attention aligned at the end: with S keys and T <= S queries in a sequence, query t sees
// keys up to S - T + t. q [all T, H, D], k and v [all S, G, D]; returns [all T, H, D].
// `scale` multiplies the products.
at::Tensor AttendRows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const AttentionRows& queries, const AttentionRows& keys, double scale);

// Weighted next-token loss that never holds logits for all rows.
struct TokenLoss {
  at::Tensor sum;  // [] f32: sum of weights * nll; differentiable with respect to `hidden`
  at::Tensor nll;  // [n] f32, natural logarithm; a constant
};
// What a teacher of the same vocabulary predicts in place of a share of each target.
struct SoftTargets {
  at::Tensor hidden;  // [n, hidden], the teacher's after the output norm; undefined: no teacher
  at::Tensor shares;  // [n] f32, from 0 (the target alone) to 1 (the teacher alone)
};
// hidden [n, hidden], after the output norm; output [vocab, hidden], frozen; targets [n] i64;
// weights [n] f32. With a teacher, nll is the cross entropy to the mixture of both.
TokenLoss CrossEntropyLoss(const at::Tensor& hidden, const at::Tensor& output,
                           const at::Tensor& targets, const at::Tensor& weights,
                           const SoftTargets& soft = {});

}  // namespace msa
