#include "msa/train/operations.h"

#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

#include "msa/base/check.h"
#if MSA_CUDA
#include "msa/kernels/cuda/train_ops.h"
#endif

namespace msa {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using Tensors = torch::autograd::variable_list;

// Rows of logits held at once: 4096 of 49,152 classes are 400 MB in bf16, and a larger product is
// no faster.
constexpr int64_t kLogitRows = 4096;

#if MSA_CUDA
// The trainer stays on libtorch's default streams.
constexpr cuda::Stream kDefaultStream = nullptr;

void CheckLaunch(int error) { TORCH_CHECK(error == 0, "CUDA kernel launch failed, error ", error); }

bool HasKernel(const at::Tensor& x) {
  return x.is_cuda() && x.scalar_type() == at::kBFloat16 && x.size(-1) % 16 == 0;
}
#endif

at::Tensor Turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, double sign) {
#if MSA_CUDA
  if (HasKernel(x) && x.stride(2) == 1 && x.stride(1) == x.size(2) && x.stride(0) % 8 == 0 &&
      reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 == 0) {
    const c10::DeviceGuard guard(x.device());
    at::Tensor out = at::empty(x.sizes(), x.options());
    CheckLaunch(
        cuda::Rotate({x.data_ptr(), out.data_ptr(), cos.data_ptr<float>(), sin.data_ptr<float>(),
                      x.size(0), x.stride(0), static_cast<int>(x.size(1)),
                      static_cast<int>(x.size(2)), static_cast<float>(sign)},
                     kDefaultStream));
    return out;
  }
#endif
  const std::vector<at::Tensor> halves = x.to(cos.scalar_type()).chunk(2, -1);
  const at::Tensor c = cos.unsqueeze(1);
  const at::Tensor s = sin.unsqueeze(1) * sign;
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1)
      .to(x.scalar_type());
}

struct RotateFunction : Function<RotateFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return Turn(x, cos, sin, 1);
  }
  static Tensors backward(AutogradContext* context, const Tensors& gradients) {
    const Tensors saved = context->get_saved_variables();
    return {Turn(gradients[0].contiguous(), saved[0], saved[1], -1), {}, {}};
  }
};

at::Tensor Gated(const at::Tensor& gate_up) {
#if MSA_CUDA
  if (HasKernel(gate_up)) {
    const c10::DeviceGuard guard(gate_up.device());
    at::Tensor out = at::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
    CheckLaunch(cuda::GatedSilu(gate_up.data_ptr(), out.data_ptr(), out.size(0), out.size(1),
                                kDefaultStream));
    return out;
  }
#endif
  const std::vector<at::Tensor> halves = gate_up.chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

// From the gradient of Gated's result; `gated`, unless null, becomes that result.
at::Tensor GatedGradient(const at::Tensor& gate_up, const at::Tensor& gradient, at::Tensor* gated) {
#if MSA_CUDA
  if (HasKernel(gate_up)) {
    const c10::DeviceGuard guard(gate_up.device());
    at::Tensor out = at::empty_like(gate_up);
    if (gated != nullptr) *gated = at::empty_like(gradient);
    CheckLaunch(cuda::GatedSiluBackward(gate_up.data_ptr(), gradient.data_ptr(), out.data_ptr(),
                                        gated == nullptr ? nullptr : gated->data_ptr(),
                                        gradient.size(0), gradient.size(1), kDefaultStream));
    return out;
  }
#endif
  if (gated != nullptr) *gated = Gated(gate_up);
  const std::vector<at::Tensor> halves = gate_up.chunk(2, -1);
  return at::cat(
      {at::silu_backward(gradient * halves[1], halves[0]), gradient * at::silu(halves[0])}, -1);
}

struct GatedFunction : Function<GatedFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up,
                            const at::Tensor& down) {
    context->save_for_backward({gate_up, down});
    return at::linear(Gated(gate_up), down);
  }
  static Tensors backward(AutogradContext* context, const Tensors& gradients) {
    const Tensors saved = context->get_saved_variables();
    const at::Tensor& gate_up = saved[0];
    const at::Tensor& down = saved[1];
    const at::Tensor grad = gradients[0].contiguous();
    if (!context->needs_input_grad(1)) {
      return {GatedGradient(gate_up, at::mm(grad, down), nullptr), {}};
    }
    at::Tensor gated;
    const at::Tensor grad_gate_up = GatedGradient(gate_up, at::mm(grad, down), &gated);
    return {grad_gate_up, at::mm(grad.t(), gated)};
  }
};

struct GatherFunction : Function<GatherFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& values,
                            const at::Tensor& index, const at::Tensor& place) {
    context->save_for_backward({place});
    context->saved_data["rows"] = values.size(0);
    return values.index_select(0, index);
  }
  static Tensors backward(AutogradContext* context, const Tensors& gradients) {
    const at::Tensor place = context->get_saved_variables()[0];
    const int64_t rows = context->saved_data["rows"].toInt();
    std::vector<int64_t> shape = gradients[0].sizes().vec();
    shape[0] = rows;
    at::Tensor out = at::empty(shape, gradients[0].options());
    at::Tensor named = out.narrow(0, 0, place.size(0));
    at::index_select_out(named, gradients[0], 0, place);
    out.narrow(0, place.size(0), rows - place.size(0)).zero_();
    return {out, {}, {}};
  }
};

// Turns logits into weights * (softmax - one at the target), in place, and gives nll.
at::Tensor LogitsToGradient(at::Tensor& logits, const at::Tensor& targets,
                            const at::Tensor& weights) {
#if MSA_CUDA
  if (HasKernel(logits)) {
    const c10::DeviceGuard guard(logits.device());
    at::Tensor nll = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat));
    CheckLaunch(cuda::CrossEntropy(logits.data_ptr(), targets.data_ptr<int64_t>(),
                                   weights.data_ptr<float>(), nll.data_ptr<float>(), logits.size(0),
                                   logits.size(1), kDefaultStream));
    return nll;
  }
#endif
  const at::Tensor index = targets.unsqueeze(1);
  const at::Tensor log_p = at::log_softmax(logits, -1, at::kFloat);
  const at::Tensor gradient =
      log_p.exp().scatter_add(1, index, at::full_like(index, -1, at::kFloat));
  logits = (gradient * weights.unsqueeze(1)).to(logits.scalar_type());
  return -log_p.gather(1, index).squeeze(1);
}

// The same where `shares` of each target are the teacher's softmax: the gradient moves by
// share * (one at the target - softmax of the teacher), nll by the product of both with the logits.
at::Tensor MixtureToGradient(at::Tensor& logits, const at::Tensor& teacher_logits,
                             const at::Tensor& targets, const at::Tensor& weights,
                             const at::Tensor& shares) {
  const at::Tensor index = targets.unsqueeze(1);
  const at::Tensor taught = at::softmax(teacher_logits, -1, at::kFloat);
  const at::Tensor moved =
      shares * (logits.gather(1, index).squeeze(1).to(at::kFloat) - (taught * logits).sum(1));
  const at::Tensor nll = LogitsToGradient(logits, targets, weights);
  const at::Tensor share = (weights * shares).unsqueeze(1);
  logits.sub_(taught * share).scatter_add_(1, index, share.to(logits.scalar_type()));
  return nll + moved;
}

struct CrossEntropyFunction : Function<CrossEntropyFunction> {
  static Tensors forward(AutogradContext* context, const at::Tensor& hidden,
                         const at::Tensor& output, const at::Tensor& targets,
                         const at::Tensor& weights, const SoftTargets& soft) {
    at::Tensor gradient = at::empty_like(hidden);
    at::Tensor nll = at::empty({hidden.size(0)}, hidden.options().dtype(at::kFloat));
    for (int64_t begin = 0; begin < hidden.size(0); begin += kLogitRows) {
      const int64_t count = std::min(kLogitRows, hidden.size(0) - begin);
      at::Tensor logits = at::linear(hidden.narrow(0, begin, count), output);
      const at::Tensor target = targets.narrow(0, begin, count);
      const at::Tensor weight = weights.narrow(0, begin, count);
      if (soft.hidden.defined()) {
        const at::Tensor teacher = at::linear(soft.hidden.narrow(0, begin, count), output);
        nll.narrow(0, begin, count)
            .copy_(MixtureToGradient(logits, teacher, target, weight,
                                     soft.shares.narrow(0, begin, count)));
      } else {
        nll.narrow(0, begin, count).copy_(LogitsToGradient(logits, target, weight));
      }
      at::Tensor part = gradient.narrow(0, begin, count);
      at::mm_out(part, logits, output);
    }
    context->save_for_backward({gradient});
    context->mark_non_differentiable({nll});
    return {at::dot(nll, weights), nll};
  }
  static Tensors backward(AutogradContext* context, const Tensors& gradients) {
    const at::Tensor gradient = context->get_saved_variables()[0];
    return {gradient * gradients[0].to(gradient.scalar_type()), {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor RotateHeads(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return RotateFunction::apply(x, cos, sin);
}

at::Tensor GatedProduct(const at::Tensor& gate_up, const at::Tensor& down) {
  return GatedFunction::apply(gate_up, down);
}

at::Tensor GatherRows(const at::Tensor& values, const at::Tensor& index, const at::Tensor& place) {
  return GatherFunction::apply(values, index, place);
}

AttentionRows AttentionRows::Of(const std::vector<int64_t>& lengths, at::Device device) {
  AttentionRows rows;
  rows.lengths = lengths;
  std::vector<int32_t> begin = {0};
  for (const int64_t length : lengths) {
    begin.push_back(begin.back() + static_cast<int32_t>(length));
    rows.longest = std::max(rows.longest, length);
  }
  rows.begin = OnDevice(begin, device);
  return rows;
}

at::Tensor AttendRows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const AttentionRows& queries, const AttentionRows& keys, double scale) {
  MSA_CHECK(queries.lengths.size() == keys.lengths.size());
  if (q.is_cuda()) {
    return std::get<0>(at::_flash_attention_forward(
        q, k, v, queries.begin, keys.begin, queries.longest, keys.longest, /*dropout_p=*/0,
        /*is_causal=*/true, /*return_debug_mask=*/false, scale));
  }
  std::vector<at::Tensor> out;
  int64_t query_at = 0;
  int64_t key_at = 0;
  for (size_t i = 0; i < queries.lengths.size(); ++i) {
    const int64_t num_queries = queries.lengths[i];
    const int64_t num_keys = keys.lengths[i];
    const auto heads_first = [&](const at::Tensor& x, int64_t at, int64_t count) {
      return x.narrow(0, at, count).transpose(0, 1);
    };
    const int64_t group = q.size(1) / k.size(1);
    const at::Tensor key = heads_first(k, key_at, num_keys).repeat_interleave(group, 0);
    const at::Tensor value = heads_first(v, key_at, num_keys).repeat_interleave(group, 0);
    const at::Tensor hidden_keys = at::ones({num_queries, num_keys}, q.options().dtype(at::kBool))
                                       .triu(num_keys - num_queries + 1);
    const at::Tensor logits =
        (at::matmul(heads_first(q, query_at, num_queries), key.transpose(1, 2)) * scale)
            .masked_fill(hidden_keys, -std::numeric_limits<double>::infinity());
    out.push_back(at::matmul(at::softmax(logits, -1), value).transpose(0, 1));
    query_at += num_queries;
    key_at += num_keys;
  }
  return at::cat(out);
}

TokenLoss CrossEntropyLoss(const at::Tensor& hidden, const at::Tensor& output,
                           const at::Tensor& targets, const at::Tensor& weights,
                           const SoftTargets& soft) {
  const Tensors result = CrossEntropyFunction::apply(hidden, output, targets, weights, soft);
  return {result[0], result[1]};
}

}  // namespace msa
