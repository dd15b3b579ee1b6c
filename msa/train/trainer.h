// What train.h runs, with its parts open to tests.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

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

  // The parts of one step's loss, by name, and gradients in the parameters. Everything Run does to
  // a batch but the update; for tests against a reference.
  std::map<std::string, at::Tensor> Differentiate(TrainBatch batch, const TrainPhase& phase);
  TrainModel& model() { return *model_; }
  const BatchMaker& batches() const { return *batches_; }

  // Nats a token of held-out passages: with their own latents at each chunk size of the
  // configuration ("nats@32"), without memory ("nats"), and what latents save ("kept@32").
  std::map<std::string, double> Check(int64_t passages) const;

 private:
  explicit Trainer(const TrainConfig& config) : config_(config) {}
  const TrainPhase& PhaseOf(int64_t step, int64_t* step_in_phase) const;
  std::vector<double> Rates(int64_t step) const;
  at::Tensor RoutingLoss(const EncodedRows& encoded, const TrainBatch& batch,
                         const TrainPhase& phase, const at::Tensor& scores,
                         std::map<std::string, at::Tensor>* parts) const;
  void Attach(const at::Tensor& scores, const TrainPhase& phase, TrainBatch* batch) const;
  Status SaveCheckpoint(int64_t step) const;
  Result<int64_t> LoadCheckpoint(const std::string& path);
  Status SaveAdapter(const std::string& path) const;
  std::string Path(const char* name) const { return config_.output + "/" + name; }

  const TrainConfig config_;
  std::unique_ptr<WeightSource> source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const Pack> pack_;
  std::unique_ptr<Teacher> teacher_;
  std::unique_ptr<BatchMaker> batches_;
  std::unique_ptr<TrainModel> model_;
  int64_t adam_step_ = 0;  // steps since the moments began
};

}  // namespace msa
