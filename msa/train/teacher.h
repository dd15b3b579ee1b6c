// A sentence encoder's vectors of a pack's passages and questions, made once by scripts/teacher.py.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "msa/base/safetensors.h"
#include "msa/base/status.h"
#include "msa/train/losses.h"
#include "msa/train/pack.h"

namespace msa {

class Teacher {
 public:
  // `source_weights`: how much it counts for a source's questions and passages, see WeightOf.
  // `pack` outlives the teacher. kFailedPrecondition: made for another pack.
  static Result<std::unique_ptr<Teacher>> Open(const std::string& path, const Pack& pack,
                                               const std::map<std::string, double>& source_weights);

  // What it says of these questions and passages of the pack, in f32 on the device.
  TeacherRows Rows(const std::vector<int64_t>& questions, const std::vector<int64_t>& passages,
                   at::Device device) const;
  // Questions whose passages the encoder finds almost as near to this question as its own, nearest
  // first: hard negatives for each other. Empty where the file has none.
  std::span<const int32_t> Neighbours(int64_t question) const {
    return neighbours_.subspan(static_cast<size_t>(question * num_neighbours_),
                               static_cast<size_t>(num_neighbours_));
  }
  bool has_neighbours() const { return num_neighbours_ > 0; }

 private:
  explicit Teacher(const Pack& pack) : pack_(pack) {}

  const Pack& pack_;
  std::vector<float> source_weights_;  // of each source of the pack
  std::shared_ptr<const SafetensorsFile> file_;
  at::Tensor passages_, questions_;      // f16, views of the mapped file
  std::span<const int32_t> neighbours_;  // [questions, num_neighbours_], -1 where there are fewer
  int64_t num_neighbours_ = 0;
};

}  // namespace msa
