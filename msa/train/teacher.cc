#include "msa/train/teacher.h"

#include "msa/train/token_rows.h"
#include "msa/train/train_config.h"

namespace msa {

Result<std::unique_ptr<Teacher>> Teacher::Open(
    const std::string& path, const Pack& pack,
    const std::map<std::string, double>& source_weights) {
  std::unique_ptr<Teacher> teacher(new Teacher(pack));
  for (const PackSource& source : pack.sources()) {
    const double weight = WeightOf(source_weights, source.name);
    teacher->source_weights_.push_back(static_cast<float>(weight));
  }
  MSA_ASSIGN_OR_RETURN(teacher->file_, SafetensorsFile::Open(path));
  const auto view = [&](const char* name, int64_t rows, at::Tensor* out) -> Status {
    const SafeTensor* tensor = teacher->file_->Find(name);
    if (tensor == nullptr || tensor->dtype != DType::kF16 || tensor->shape.size() != 2) {
      return DataLoss(path + ": no f16 matrix \"" + name + "\"");
    }
    if (tensor->shape[0] != rows) {
      return FailedPrecondition(path + ": " + std::to_string(tensor->shape[0]) + " " + name +
                                ", the pack " + pack.path() + " has " + std::to_string(rows) +
                                "; make it anew with scripts/teacher.py");
    }
    // from_blob takes no const; nothing writes to it.
    *out = at::from_blob(const_cast<std::byte*>(tensor->bytes.data()), tensor->shape, at::kHalf);
    return OkStatus();
  };
  MSA_RETURN_IF_ERROR(view("passages", pack.num_passages(), &teacher->passages_));
  MSA_RETURN_IF_ERROR(view("questions", pack.num_questions(), &teacher->questions_));
  if (const SafeTensor* tensor = teacher->file_->Find("neighbours"); tensor != nullptr) {
    if (tensor->dtype != DType::kI32 || tensor->shape.size() != 2 ||
        tensor->shape[0] != pack.num_questions()) {
      return DataLoss(path + ": \"neighbours\" is no i32 matrix with a row a question");
    }
    teacher->num_neighbours_ = tensor->shape[1];
    teacher->neighbours_ = {reinterpret_cast<const int32_t*>(tensor->bytes.data()),
                            tensor->bytes.size() / sizeof(int32_t)};
    for (const int32_t q : teacher->neighbours_) {
      if (q < -1 || q >= pack.num_questions()) {
        return DataLoss(path + ": a neighbour is no question of " + pack.path());
      }
    }
  }
  return teacher;
}

TeacherRows Teacher::Rows(const std::vector<int64_t>& questions,
                          const std::vector<int64_t>& passages, at::Device device) const {
  const auto vectors = [&](const at::Tensor& all, const std::vector<int64_t>& ids) {
    return OnDevice(all.index_select(0, OnDevice(ids, at::kCPU)), device).to(at::kFloat);
  };
  std::vector<float> question_weights, passage_weights;
  for (const int64_t q : questions) {
    question_weights.push_back(source_weights_[static_cast<size_t>(pack_.QuestionSource(q))]);
  }
  for (const int64_t p : passages) {
    passage_weights.push_back(source_weights_[static_cast<size_t>(pack_.PassageSource(p))]);
  }
  return {vectors(questions_, questions), vectors(passages_, passages),
          OnDevice(question_weights, device), OnDevice(passage_weights, device)};
}

}  // namespace msa
