// What train.h runs, with its parts open to tests.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "msa/base/function_ref.h"
#include "msa/base/status.h"
#include "msa/train/batch.h"
#include "msa/train/teacher.h"
#include "msa/train/train.h"
#include "msa/train/train_config.h"
#include "msa/train/train_model.h"

namespace msa {

class Trainer {
 public:
  static Result<std::unique_ptr<Trainer>> Create(const TrainConfig& config);

  Result<TrainReport> Run(const TrainRunOptions& options);

  // The parts of one step's loss, by name, and gradients in the parameters of the first model.
  // Everything Run does to the batches, one a device, but the update; for tests against a
  // reference.
  std::map<std::string, at::Tensor> Differentiate(TrainStep step, const TrainPhase& phase);
  TrainModel& model() { return *models_.front(); }
  // From the first model to those of the other devices.
  void CopyValues() const;
  TrainStep MakeStep(int64_t step) const { return batches_->Make(step, num_ranks()); }

  // Nats a token of held-out passages: with their own latents at each chunk size of the
  // configuration ("nats@32"), without memory ("nats"), and what latents save ("kept@32").
  std::map<std::string, double> Check(int64_t passages) const;

 private:
  explicit Trainer(const TrainConfig& config) : config_(config) {}
  const TrainPhase& PhaseOf(int64_t step, int64_t* step_in_phase) const;
  std::vector<double> Rates(int64_t step) const;
  int64_t num_ranks() const { return std::ssize(models_); }
  bool Taught(const TrainPhase& phase) const {
    return teacher_ != nullptr && phase.teacher_weight > 0;
  }
  // A device's share of a step.
  struct Part {
    TrainBatch batch;
    EncodedRows encoded;
    std::map<std::string, at::Tensor> losses;
  };
  void ForEachRank(FunctionRef<void(int64_t)> work) const;
  EncodedRows Gather(const std::vector<Part>& parts, int64_t rank) const;
  at::Tensor RoutingLoss(std::vector<Part>& parts, int64_t rank, const RoutingTargets& all_targets,
                         const TrainPhase& phase) const;
  void Learn(std::vector<Part>& parts, int64_t rank, const RoutingTargets& targets,
             const TrainPhase& phase) const;
  at::Tensor Teach(const TrainModel& model, const ReaderRows& told) const;
  void SumGradients() const;
  void Attach(const at::Tensor& scores, TrainBatch* batch) const;
  Status SaveCheckpoint(int64_t step) const;
  Result<int64_t> LoadCheckpoint(const std::string& path);
  Status LoadStart(const std::string& path);
  Status SaveAdapter() const;
  Status Save(int64_t step) const;  // both
  std::string Path(const char* name) const { return config_.output + "/" + name; }

  const TrainConfig config_;
  std::unique_ptr<WeightSource> source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const Pack> pack_;
  std::unique_ptr<Teacher> teacher_;
  std::unique_ptr<BatchMaker> batches_;
  std::vector<std::unique_ptr<TrainModel>> models_;  // one a device; the first one's are saved
  int64_t adam_step_ = 0;                            // steps since the moments began
};

}  // namespace msa
