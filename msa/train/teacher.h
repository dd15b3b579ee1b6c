// A sentence encoder's vectors of a pack's passages and questions, made once by scripts/teacher.py.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <span>
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
  // Questions whose passages the encoder finds almost as near to this question as its own, nearest
  // first: hard negatives for each other. Empty where the file has none.
  std::span<const int32_t> Neighbours(int64_t question) const {
    return neighbours_.subspan(static_cast<size_t>(question * num_neighbours_),
                               static_cast<size_t>(num_neighbours_));
  }
  bool has_neighbours() const { return num_neighbours_ > 0; }

 private:
  Teacher() = default;
  static at::Tensor Rows(const at::Tensor& all, const std::vector<int64_t>& ids, at::Device device);

  std::shared_ptr<const SafetensorsFile> file_;
  at::Tensor passages_, questions_;      // f16, views of the mapped file
  std::span<const int32_t> neighbours_;  // [questions, num_neighbours_], -1 where there are fewer
  int64_t num_neighbours_ = 0;
};

}  // namespace msa
