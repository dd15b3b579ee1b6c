// Losses of routing: contrastive in both directions, and towards a teacher's similarities.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace msa {

// Which passage each question of a batch asks for.
struct RoutingTargets {
  std::vector<int64_t> passage;   // [Q]: an index into the batch's passages
  std::vector<uint8_t> excluded;  // [Q, B]: other passages that answer it too, no negatives
};

// InfoNCE (van den Oord 2018), the mean over questions, of `scores` [Q, B] times `scale`: from
// questions to passages, and from the passages asked for back to questions. The second keeps a
// passage from winning questions that are not its own.
at::Tensor ContrastiveLoss(const at::Tensor& scores, const at::Tensor& scale,
                           const RoutingTargets& targets);

// Cross entropy between the softmax of the teacher's similarities, over `temperature`, and of the
// scaled scores, in both directions. teacher_questions [Q, T], teacher_passages [B, T], unit
// length.
at::Tensor TeacherLoss(const at::Tensor& scores, const at::Tensor& scale,
                       const at::Tensor& teacher_questions, const at::Tensor& teacher_passages,
                       double temperature);

// The share of questions whose best passage is the one asked for.
at::Tensor RoutingAccuracy(const at::Tensor& scores, const RoutingTargets& targets);

}  // namespace msa
