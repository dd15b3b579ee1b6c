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

// What a teacher says of a batch's questions and passages: vectors of unit length, and how much its
// word counts for each.
struct TeacherRows {
  at::Tensor questions, passages;                // [Q, T], [B, T]
  at::Tensor question_weights, passage_weights;  // [Q], [B]
};

// Cross entropy between the softmax of the teacher's similarities, over `temperature`, and of the
// scaled scores [Q, B], in both directions: weighted means over questions and over passages.
at::Tensor TeacherLoss(const at::Tensor& scores, const at::Tensor& scale,
                       const TeacherRows& teacher, double temperature);

// The share of questions whose best passage is the one asked for.
at::Tensor RoutingAccuracy(const at::Tensor& scores, const RoutingTargets& targets);

}  // namespace msa
