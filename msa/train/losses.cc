#include "msa/train/losses.h"

#include <limits>

#include "msa/train/token_rows.h"

namespace msa {
namespace {

at::Tensor MeanNll(const at::Tensor& logits, const at::Tensor& target) {
  return -at::log_softmax(logits, 1).gather(1, target.unsqueeze(1)).mean();
}

// The scores with other right answers taken out.
at::Tensor Masked(const at::Tensor& scores, const RoutingTargets& targets) {
  const at::Tensor excluded = OnDevice(targets.excluded, scores.device()).view(scores.sizes());
  return scores.masked_fill(excluded.to(at::kBool), -std::numeric_limits<double>::infinity());
}

}  // namespace

at::Tensor ContrastiveLoss(const at::Tensor& scores, const at::Tensor& scale,
                           const RoutingTargets& targets) {
  const at::Tensor passage = OnDevice(targets.passage, scores.device());
  const at::Tensor logits = Masked(scores * scale, targets);
  // Row i: the passage of question i against all questions. Others that ask for the same passage
  // are no negatives of it, nor are those that it answers too.
  const at::Tensor back = logits.index_select(1, passage).t();
  const at::Tensor same =
      (passage.unsqueeze(0) == passage.unsqueeze(1))
          .logical_and(at::eye(passage.size(0), passage.options()).to(at::kBool).logical_not());
  const at::Tensor own = at::arange(passage.size(0), passage.options());
  return 0.5 * (MeanNll(logits, passage) +
                MeanNll(back.masked_fill(same, -std::numeric_limits<double>::infinity()), own));
}

at::Tensor TeacherLoss(const at::Tensor& scores, const at::Tensor& scale,
                       const TeacherRows& teacher, double temperature) {
  const at::Tensor similarity = at::mm(teacher.questions, teacher.passages.t()) / temperature;
  const at::Tensor logits = scores * scale;
  const auto cross_entropy = [&](int64_t dim, const at::Tensor& weights) {
    const at::Tensor each = -(at::softmax(similarity, dim) * at::log_softmax(logits, dim)).sum(dim);
    return at::dot(each, weights) / weights.sum().clamp_min(1e-9);
  };
  return 0.5 *
         (cross_entropy(1, teacher.question_weights) + cross_entropy(0, teacher.passage_weights));
}

at::Tensor RoutingAccuracy(const at::Tensor& scores, const RoutingTargets& targets) {
  const at::Tensor passage = OnDevice(targets.passage, scores.device());
  return (Masked(scores, targets).argmax(1) == passage).to(at::kFloat).mean();
}

}  // namespace msa
