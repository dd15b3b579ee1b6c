// What training changes: a list of named f32 tensors, their AdamW state, and nothing else.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/status.h"

namespace msa {

// Parameters of a group share a learning rate.
enum class ParameterGroup {
  kTower,   // low-rank updates
  kReader,  // likewise
  kMemory,  // pooling and residuals
  kRouter,  // router projections
  kScale,   // temperatures and biases by position
};

struct Parameter {
  std::string name;
  ParameterGroup group;
  at::Tensor value;   // f32, a leaf that wants its gradient
  at::Tensor mean;    // Adam's first moment
  at::Tensor square;  // and second
};

class Parameters {
 public:
  // `value` becomes a leaf; the returned tensor shares its memory.
  at::Tensor Add(std::string name, ParameterGroup group, const at::Tensor& value);

  const std::vector<Parameter>& all() const { return parameters_; }
  int64_t num_values() const;
  void ClearGradients();
  // The L2 norm over all gradients, f32 on the device.
  at::Tensor GradientNorm() const;

  // One AdamW step (betas .9 and .98, epsilon 1e-8, no decay) with gradients times
  // min(1, clip / norm). `rates` by group; `step` counts from 1 and corrects the moments' bias.
  void Step(const std::vector<double>& rates, const at::Tensor& norm, double clip, int64_t step);

  // Values, with moments if they are asked for, as one safetensors file; f16 values without moments
  // are for another machine (Adam starts anew there).
  Status Save(const std::string& path, const std::string& config_json, bool moments) const;
  // Fills what Save wrote; kDataLoss if a tensor is missing or misshapen. `moments` tells whether
  // the file had them. Returns the configuration's JSON.
  Result<std::string> Load(const std::string& path, bool* moments);

 private:
  std::vector<Parameter> parameters_;
};

}  // namespace msa
