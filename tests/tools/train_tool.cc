// Differentiates one training step and writes everything that a reference needs to do it again:
//   msa_train_tool CONFIG STEP OUT.safetensors
// The parameters are moved off their start values first, where half of all gradients are 0. OUT
// holds `value.NAME` and `gradient.NAME` of each parameter; its metadata's "step" is JSON: the
// batch, of all devices, and the parts of the loss.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "msa/base/file.h"
#include "msa/base/safetensors.h"
#include "msa/train/trainer.h"

namespace msa {
namespace {

using Json = nlohmann::json;

Json Describe(const TokenRows& rows) {
  return {{"tokens", rows.tokens}, {"lengths", rows.lengths}};
}

Json Describe(const TrainBatch& batch, const RoutingTargets& targets) {
  Json answers = Json::array();
  for (const TrainBatch::AnswerRow& row : batch.answer_rows) {
    answers.push_back({{"question", row.question},
                       {"absent", row.absent},
                       {"attach", row.attach},
                       {"first", row.first}});
  }
  return {{"task", static_cast<int>(batch.task)},
          {"chunk_tokens", batch.chunk_tokens},
          {"passages", Describe(batch.passages)},
          {"questions", Describe(batch.questions)},
          {"passage_ids", batch.passage_ids},
          {"question_ids", batch.question_ids},
          {"asked", batch.asked},
          {"target", targets.passage},
          {"excluded", targets.excluded},
          {"routable", batch.routable},
          {"rows", Describe(batch.read.rows)},
          {"attached", batch.read.attached},
          {"beside_text", batch.read.beside_text},
          {"positions", batch.read.positions},
          {"targets", batch.read.targets},
          {"weights", batch.read.weights},
          {"taught", batch.read.taught},
          {"told", Describe(batch.told.rows)},
          {"told_positions", batch.told.positions},
          {"answer_rows", answers}};
}

// The batches of several devices as one with the same loss.
TrainBatch Join(std::vector<TrainBatch> batches) {
  TrainBatch out = std::move(batches.front());
  const auto append = [](auto& to, const auto& from, auto offset) {
    for (auto value : from) to.push_back(value + offset);
  };
  const auto divide = [](std::vector<float>& weights) {
    float total = 0;
    for (const float w : weights) total += w;
    for (float& w : weights) w /= total;
  };
  divide(out.read.weights);
  for (size_t r = 1; r < batches.size(); ++r) {
    TrainBatch& batch = batches[r];
    divide(batch.read.weights);
    append(out.routable, batch.routable, std::ssize(out.question_ids));
    for (const auto& attached : batch.read.attached) {
      append(out.read.attached.emplace_back(), attached, std::ssize(out.passage_ids));
    }
    append(out.read.beside_text, batch.read.beside_text, false);
    append(out.read.positions, batch.read.positions, out.read.rows.num_tokens());
    append(out.read.targets, batch.read.targets, int64_t{0});
    append(out.read.weights, batch.read.weights, 0.0f);
    append(out.asked, batch.asked, std::ssize(out.passage_ids));
    append(out.passage_ids, batch.passage_ids, int64_t{0});
    append(out.question_ids, batch.question_ids, int64_t{0});
    const std::pair<TokenRows*, const TokenRows*> rows[] = {{&out.passages, &batch.passages},
                                                            {&out.questions, &batch.questions},
                                                            {&out.read.rows, &batch.read.rows}};
    for (const auto& [to, from] : rows) {
      append(to->tokens, from->tokens, TokenId{0});
      append(to->lengths, from->lengths, int64_t{0});
    }
  }
  return out;
}

Status Main(const std::string& config_path, int64_t step, const std::string& out_path) {
  MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path));
  MSA_ASSIGN_OR_RETURN(const TrainConfig config, TrainConfig::FromJson(text));
  MSA_ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(config));
  const Parameters& parameters = trainer->model().parameters();
  {
    const c10::NoGradGuard guard;
    at::manual_seed(7);
    for (const Parameter& p : parameters.all()) {
      p.value.add_(at::randn(p.value.sizes()).to(p.value.device()), 0.05);
    }
  }
  const TrainStep made = trainer->MakeStep(step);
  Json record = Describe(Join(made.batches), made.targets);
  trainer->CopyValues();
  for (const auto& [name, value] : trainer->Differentiate(made, config.phases.front())) {
    record["parts"][name] = value.item<double>();
  }
  std::vector<std::string> contents;
  std::vector<SafeTensor> tensors;
  const auto add = [&](const std::string& name, const at::Tensor& value) {
    const at::Tensor host = value.detach().to(at::kFloat).cpu().contiguous();
    contents.emplace_back(static_cast<const char*>(host.data_ptr()), host.nbytes());
    tensors.push_back({name, DType::kF32, host.sizes().vec(), {}});
  };
  for (const Parameter& p : parameters.all()) {
    add("value." + p.name, p.value);
    add("gradient." + p.name, p.value.grad().defined() ? p.value.grad() : at::zeros_like(p.value));
  }
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].bytes = AsBytes(contents[i]);
  std::string file = SafetensorsHeader(tensors, {{"step", record.dump()}});
  for (const std::string& content : contents) file += content;
  return WriteFileAtomically(PosixFileSystem(), out_path, file);
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: " << argv[0] << " CONFIG STEP OUT.safetensors\n";
    return 2;
  }
  const msa::Status status = msa::Main(argv[1], std::atoll(argv[2]), argv[3]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
