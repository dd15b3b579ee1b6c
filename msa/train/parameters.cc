#include "msa/train/parameters.h"

#include <c10/core/GradMode.h>

#include <cmath>
#include <map>

#include "msa/base/file.h"
#include "msa/base/safetensors.h"
#include "msa/train/token_rows.h"

namespace msa {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.98;
constexpr double kEpsilon = 1e-8;
constexpr const char* kFormat = "msa-checkpoint";

std::string Bytes(const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().cpu().contiguous();
  return {static_cast<const char*>(host.data_ptr()), host.nbytes()};
}

}  // namespace

at::Tensor Parameters::Add(std::string name, ParameterGroup group, const at::Tensor& value) {
  at::Tensor leaf = value.detach().to(at::kFloat).clone().contiguous();
  leaf.requires_grad_(true);
  parameters_.push_back({std::move(name), group, leaf, at::zeros_like(leaf), at::zeros_like(leaf)});
  return leaf;
}

int64_t Parameters::num_values() const {
  int64_t count = 0;
  for (const Parameter& p : parameters_) count += p.value.numel();
  return count;
}

void Parameters::ClearGradients() {
  for (Parameter& p : parameters_) p.value.mutable_grad() = at::Tensor();
}

at::Tensor Parameters::GradientNorm() const {
  const c10::NoGradGuard guard;
  std::vector<at::Tensor> norms;
  for (const Parameter& p : parameters_) {
    if (p.value.grad().defined()) norms.push_back(p.value.grad().norm());
  }
  return norms.empty() ? at::zeros({}) : at::stack(norms).norm();
}

void Parameters::Step(const std::vector<double>& rates, const at::Tensor& norm, double clip,
                      int64_t step) {
  const c10::NoGradGuard guard;
  const at::Tensor factor = (clip / (norm + 1e-12)).clamp_max(1);
  const double correction1 = 1 - std::pow(kBeta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(kBeta2, static_cast<double>(step));
  for (Parameter& p : parameters_) {
    if (!p.value.grad().defined()) continue;
    const at::Tensor gradient = p.value.grad() * factor;
    p.mean.mul_(kBeta1).add_(gradient, 1 - kBeta1);
    p.square.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    const at::Tensor deviation = (p.square / correction2).sqrt_().add_(kEpsilon);
    p.value.addcdiv_(p.mean, deviation, -rates[static_cast<size_t>(p.group)] / correction1);
  }
}

Status Parameters::Save(const std::string& path, const std::string& config_json,
                        bool moments) const {
  std::vector<std::string> contents;
  std::vector<SafeTensor> tensors;
  const auto add = [&](const std::string& name, const at::Tensor& value, DType dtype) {
    contents.push_back(Bytes(value));
    tensors.push_back({name, dtype, value.sizes().vec(), {}});
  };
  for (const Parameter& p : parameters_) {
    if (!moments) {
      add(p.name, p.value.to(at::kHalf), DType::kF16);
      continue;
    }
    add(p.name, p.value, DType::kF32);
    add(p.name + ".mean", p.mean, DType::kF32);
    add(p.name + ".square", p.square, DType::kF32);
  }
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].bytes = AsBytes(contents[i]);
  std::string file = SafetensorsHeader(
      tensors, {{"format", kFormat}, {"format_version", "1"}, {"config", config_json}});
  for (const std::string& content : contents) file += content;
  return WriteFileAtomically(PosixFileSystem(), path, file);
}

Result<std::string> Parameters::Load(const std::string& path, bool* moments) {
  MSA_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  const auto format = file->metadata().find("format");
  if (format == file->metadata().end() || format->second != kFormat) {
    return InvalidArgument(path + ": no checkpoint of msa train");
  }
  const c10::NoGradGuard guard;
  const auto read = [&](const std::string& name, at::Tensor to) -> Status {
    const SafeTensor* tensor = file->Find(name);
    if (tensor == nullptr || tensor->shape != to.sizes().vec() ||
        (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16)) {
      return DataLoss(path + ": tensor " + name + " is missing or has another shape than " +
                      c10::str(to.sizes()));
    }
    const auto dtype = tensor->dtype == DType::kF32 ? at::kFloat : at::kHalf;
    // from_blob takes no const; the copy below only reads.
    to.copy_(at::from_blob(const_cast<std::byte*>(tensor->bytes.data()), to.sizes(), dtype));
    return OkStatus();
  };
  *moments = file->Find(parameters_.front().name + ".mean") != nullptr;
  for (Parameter& p : parameters_) {
    MSA_RETURN_IF_ERROR(read(p.name, p.value));
    if (!*moments) continue;
    MSA_RETURN_IF_ERROR(read(p.name + ".mean", p.mean));
    MSA_RETURN_IF_ERROR(read(p.name + ".square", p.square));
  }
  const auto config = file->metadata().find("config");
  return config == file->metadata().end() ? std::string("{}") : config->second;
}

}  // namespace msa
