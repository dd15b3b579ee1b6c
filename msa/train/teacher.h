// A sentence encoder's vectors of a pack's passages and questions, made once by scripts/teacher.py.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "msa/base/safetensors.h"
#include "msa/base/status.h"
#include "msa/train/pack.h"

namespace msa {

class Teacher {
 public:
  // kFailedPrecondition: made for another pack.
  static Result<std::unique_ptr<Teacher>> Open(const std::string& path, const Pack& pack);

  // [ids, width] f32 of unit length, on the device.
  at::Tensor Passages(const std::vector<int64_t>& ids, at::Device device) const {
    return Rows(passages_, ids, device);
  }
  at::Tensor Questions(const std::vector<int64_t>& ids, at::Device device) const {
    return Rows(questions_, ids, device);
  }

 private:
  Teacher() = default;
  static at::Tensor Rows(const at::Tensor& all, const std::vector<int64_t>& ids, at::Device device);

  std::shared_ptr<const SafetensorsFile> file_;
  at::Tensor passages_, questions_;  // f16, views of the mapped file
};

}  // namespace msa
