#include "msa/train/trainer.h"

#include <ATen/Context.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <numbers>

#include "msa/base/clock.h"
#include "msa/train/curves.h"
#include "msa/train/vocabulary.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr int64_t kCheckPassages = 64;
// By TrainTask.
constexpr const char* kTaskNames[] = {"reconstruct", "stranger", "proceed", "answer"};

// A copy whose gradient gathers on its own, so that what made it is gone through once, later.
at::Tensor Boundary(const at::Tensor& x) {
  at::Tensor leaf = x.detach();
  leaf.requires_grad_(true);
  return leaf;
}

// The gradients that boundaries have gathered, to be passed on to what they are copies of.
class Pending {
 public:
  at::Tensor Cut(const at::Tensor& x) {
    origins_.push_back(x);
    leaves_.push_back(Boundary(x));
    return leaves_.back();
  }
  UpdatedLayers Cut(const UpdatedLayers& layers) {
    UpdatedLayers out;
    for (const UpdatedLayer& l : layers) {
      out.push_back({Cut(l.qkv), Cut(l.output), Cut(l.gate_up), Cut(l.down)});
    }
    return out;
  }
  void Add(const at::Tensor& root) { roots_.push_back(root); }

  void Backward() {
    std::vector<at::Tensor> tensors = roots_;
    std::vector<at::Tensor> gradients(roots_.size());
    for (size_t i = 0; i < origins_.size(); ++i) {
      if (!origins_[i].requires_grad() || !leaves_[i].grad().defined()) continue;
      tensors.push_back(origins_[i]);
      gradients.push_back(leaves_[i].grad());
    }
    if (!tensors.empty()) torch::autograd::backward(tensors, gradients);
  }

 private:
  std::vector<at::Tensor> origins_, leaves_, roots_;
};

// Some rows of a batch that read alike, with their targets.
struct Portion {
  bool beside_text = false;
  ReaderRows rows;
  std::vector<int64_t> row_ids, target_ids;  // in the batch
};

// `all` in portions of at most `most_tokens` tokens, or one row: rows without texts first, then
// those with, each in their order.
std::vector<Portion> Portions(const ReaderRows& all, int64_t most_tokens) {
  std::vector<Portion> out;
  for (const bool beside_text : {false, true}) {
    Portion* portion = nullptr;
    int64_t token_begin = 0;
    size_t target = 0;
    for (int64_t id = 0; id < all.rows.num_rows(); ++id) {
      const auto row = static_cast<size_t>(id);
      const int64_t length = all.rows.lengths[row];
      const bool wanted = all.beside_text[row] == beside_text;
      if (wanted &&
          (portion == nullptr || portion->rows.rows.num_tokens() + length > most_tokens)) {
        portion = &out.emplace_back();
        portion->beside_text = beside_text;
      }
      const int64_t moved = wanted ? portion->rows.rows.num_tokens() - token_begin : 0;
      if (wanted) {
        const auto tokens = std::span(all.rows.tokens).subspan(static_cast<size_t>(token_begin));
        portion->rows.rows.Add(tokens.first(static_cast<size_t>(length)));
        if (!all.attached.empty()) portion->rows.attached.push_back(all.attached[row]);
        portion->row_ids.push_back(id);
      }
      token_begin += length;
      for (; target < all.positions.size() && all.positions[target] < token_begin; ++target) {
        if (!wanted) continue;
        portion->rows.positions.push_back(all.positions[target] + moved);
        portion->rows.targets.push_back(all.targets[target]);
        portion->rows.weights.push_back(all.weights[target]);
        if (!all.taught.empty()) portion->rows.taught.push_back(all.taught[target]);
        portion->target_ids.push_back(static_cast<int64_t>(target));
      }
    }
  }
  return out;
}

Result<std::vector<at::Device>> DevicesOf(const TrainConfig& config) {
  std::vector<at::Device> devices;
  for (const std::string& name : config.devices()) {
    try {
      devices.emplace_back(name);
    } catch (const c10::Error&) {
      return InvalidArgument("device \"" + name + "\": cpu, cuda or cuda:N is known");
    }
    if (devices.back().is_cuda() && !at::hasCUDA()) {
      return InvalidArgument("device \"" + name + "\": no CUDA device, or a libtorch without CUDA");
    }
  }
  if (devices.empty()) return InvalidArgument("\"device\" names none");
  return devices;
}

// MKL's vector functions choose their code at a first call, and of two threads that make it at once
// one can get a result of half the digits (oneMKL 2024.2): each of those that steps use is called
// here, alone.
void CallVectorFunctions() {
  const at::Tensor x = at::ones({64});
  for (const auto function : {at::cos, at::sin, at::exp}) function(x);
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::Create(const TrainConfig& config) {
  std::unique_ptr<Trainer> trainer(new Trainer(config));
  MSA_ASSIGN_OR_RETURN(const std::vector<at::Device> devices, DevicesOf(config));
  CallVectorFunctions();
  // Master products of low-rank updates: TF32 has the mantissa that bf16 products can use.
  at::globalContext().setAllowTF32CuBLAS(!config.deterministic);
  if (config.deterministic) at::globalContext().setDeterministicAlgorithms(true, false);
  MSA_ASSIGN_OR_RETURN(trainer->source_, WeightSource::Open(config.model));
  MSA_ASSIGN_OR_RETURN(trainer->tokenizer_, trainer->source_->LoadTokenizer());
  MSA_ASSIGN_OR_RETURN(const ChatFamily family,
                       ChooseChatFamily(config.chat_template, trainer->source_->chat_template()));
  MSA_ASSIGN_OR_RETURN(trainer->pack_, Pack::Open(config.pack));
  if (trainer->pack_->tokenizer() != VocabularyFingerprint(*trainer->tokenizer_)) {
    return FailedPrecondition(config.pack + ": made with another vocabulary than that of " +
                              config.model + "; run msa train pack --model " + config.model);
  }
  if (!config.teacher.empty()) {
    MSA_ASSIGN_OR_RETURN(trainer->teacher_,
                         Teacher::Open(config.teacher, *trainer->pack_, config.teacher_weights));
  }
  MSA_ASSIGN_OR_RETURN(trainer->batches_,
                       BatchMaker::Create(config, *trainer->pack_, trainer->teacher_.get(),
                                          *trainer->tokenizer_, family));
  TrainModelOptions options;
  options.memory.memory_layers = config.memory_layers;
  options.memory.routing_layers = config.routing_layers;
  options.memory.passage_tokens = trainer->pack_->passage_tokens();
  options.memory.chunk_tokens = config.chunk_tokens;
  options.max_chunk_tokens = std::max(config.chunk_tokens, config.chunk_shares.rbegin()->first);
  options.tower_rank = config.tower_rank;
  options.reader_rank = config.reader_rank;
  options.text_reader_rank = config.text_reader_rank;
  options.update_scale = config.update_scale;
  options.addressing = config.addressing;
  options.seed = config.seed;
  options.routing_scale = config.routing_scale;
  for (const at::Device device : devices) {
    const c10::DeviceGuard guard(device);
    MSA_ASSIGN_OR_RETURN(trainer->models_.emplace_back(),
                         TrainModel::Load(*trainer->source_, options, device));
  }
  std::filesystem::create_directories(config.output);
  return trainer;
}

const TrainPhase& Trainer::PhaseOf(int64_t step, int64_t* step_in_phase) const {
  *step_in_phase = step;
  for (const TrainPhase& phase : config_.phases) {
    if (*step_in_phase < phase.steps) return phase;
    *step_in_phase -= phase.steps;
  }
  return config_.phases.back();
}

// By ParameterGroup: linear warm-up, then a cosine over the phase.
std::vector<double> Trainer::Rates(int64_t step) const {
  int64_t at = 0;
  const TrainPhase& phase = PhaseOf(step, &at);
  const double warm =
      std::min(1.0, static_cast<double>(at + 1) /
                        static_cast<double>(std::max<int64_t>(phase.warmup_steps, 1)));
  const double share = static_cast<double>(at) / static_cast<double>(phase.steps);
  const double cosine =
      phase.last_rate + (1 - phase.last_rate) * 0.5 * (1 + std::cos(std::numbers::pi * share));
  // After a start without moments Adam's first steps are wild: warm up again.
  const double restart = std::min(1.0, static_cast<double>(adam_step_ + 1) / 50);
  const double factor = std::min(warm, restart) * cosine;
  return {factor * phase.update_rate * phase.tower_factor, factor * phase.update_rate,
          factor * phase.router_rate * (phase.tower_is_still() ? 1 : phase.tower_factor),
          factor * phase.router_rate * phase.tower_factor,
          factor * phase.scale_rate * phase.tower_factor};
}

// What `rank` knows of all devices' passages and questions: gradients flow to its own part, since
// each device differentiates the whole loss by what it encoded.
EncodedRows Trainer::Gather(const std::vector<Part>& parts, int64_t rank) const {
  const at::Device device = models_[static_cast<size_t>(rank)]->device();
  EncodedRows all;
  all.first_chunk = {0};
  std::vector<at::Tensor> keys, queries;
  for (int64_t r = 0; r < num_ranks(); ++r) {
    const EncodedRows& encoded = parts[static_cast<size_t>(r)].encoded;
    const int64_t chunks = all.first_chunk.back();
    for (size_t p = 1; p < encoded.first_chunk.size(); ++p) {
      all.first_chunk.push_back(chunks + encoded.first_chunk[p]);
    }
    const auto own = [&](const at::Tensor& x) { return r == rank ? x : x.detach().to(device); };
    keys.push_back(own(encoded.keys));
    queries.push_back(own(encoded.queries));
  }
  all.keys = at::cat(keys);
  all.queries = at::cat(queries);
  return all;
}

// `all_targets`: of all questions over all passages.
at::Tensor Trainer::RoutingLoss(std::vector<Part>& parts, int64_t rank,
                                const RoutingTargets& all_targets, const TrainPhase& phase) const {
  const TrainModel& model = *models_[static_cast<size_t>(rank)];
  const at::Device device = model.device();
  RoutingTargets targets;
  std::vector<int64_t> rows, question_ids, passage_ids;
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (const Part& part : parts) {
    for (const int64_t q : part.batch.routable) rows.push_back(std::ssize(question_ids) + q);
    append(passage_ids, part.batch.passage_ids);
    append(question_ids, part.batch.question_ids);
  }
  for (const int64_t q : rows) {
    targets.passage.push_back(all_targets.passage[static_cast<size_t>(q)]);
    const auto row = all_targets.excluded.begin() + q * std::ssize(passage_ids);
    targets.excluded.insert(targets.excluded.end(), row, row + std::ssize(passage_ids));
  }
  const EncodedRows encoded = Gather(parts, rank);
  // These two see the whole loss on each device: one of them teaches.
  const auto shared = [&](const at::Tensor& x) { return rank == 0 ? x : x.detach(); };
  const at::Tensor scale = shared(model.RoutingScale());
  const at::Tensor scores = model.Scores(encoded, shared(model.RoutingWeights()));
  auto& losses = parts[static_cast<size_t>(rank)].losses;
  at::Tensor loss = at::zeros({}, scores.options());
  if (!rows.empty()) {
    const at::Tensor index = OnDevice(rows, device);
    const at::Tensor own = scores.index_select(0, index);
    losses["contrastive"] = ContrastiveLoss(own, scale, targets);
    losses["accuracy"] = RoutingAccuracy(own.detach(), targets);
    loss = loss + losses["contrastive"] * phase.contrastive_weight;
    const auto layers = std::ssize(model.options().memory.routing_layers);
    for (int64_t r = 0; r < layers && phase.layer_weight > 0; ++r) {
      const at::Tensor layer_scores = model.LayerScores(encoded, r).index_select(0, index);
      loss =
          loss + ContrastiveLoss(layer_scores, scale, targets) *
                     (phase.contrastive_weight * phase.layer_weight / static_cast<double>(layers));
    }
  }
  if (Taught(phase)) {
    losses["teacher"] =
        TeacherLoss(scores, scale, teacher_->Rows(question_ids, passage_ids, device),
                    phase.teacher_temperature);
    loss = loss + losses["teacher"] * phase.teacher_weight;
  }
  return loss;
}

// What routing selects for each answer row, the right passages among it.
void Trainer::Attach(const at::Tensor& scores, TrainBatch* batch) const {
  const at::Tensor order = scores.detach().argsort(/*dim=*/1, /*descending=*/true).cpu();
  const auto* ranked = order.data_ptr<int64_t>();
  const int64_t passages = order.size(1);
  for (const TrainBatch::AnswerRow& row : batch->answer_rows) {
    const int64_t count = std::min(row.attach, passages);
    std::vector<int64_t> attached;
    if (!row.absent) {
      attached.assign(row.first.begin(),
                      row.first.begin() + std::min<int64_t>(count, std::ssize(row.first)));
    }
    for (int64_t i = 0; i < passages && std::ssize(attached) < count; ++i) {
      const int64_t p = ranked[row.question * passages + i];
      const bool first = std::find(row.first.begin(), row.first.end(), p) != row.first.end();
      if (!first) attached.push_back(p);
    }
    // Not always the right one first.
    std::sort(attached.begin(), attached.end());
    batch->read.attached.push_back(std::move(attached));
  }
}

// Calls work(rank) for all ranks at once, each on a thread with its device current.
void Trainer::ForEachRank(FunctionRef<void(int64_t)> work) const {
  const auto on_device = [&](int64_t rank) {
    const c10::DeviceGuard guard(models_[static_cast<size_t>(rank)]->device());
    work(rank);
  };
  std::vector<std::future<void>> others;
  for (int64_t r = 1; r < num_ranks(); ++r) {
    others.push_back(std::async(std::launch::async, on_device, r));
  }
  on_device(0);
  for (std::future<void>& other : others) other.get();
}

std::map<std::string, at::Tensor> Trainer::Differentiate(TrainStep step, const TrainPhase& phase) {
  std::vector<Part> parts(step.batches.size());
  for (size_t r = 0; r < parts.size(); ++r) parts[r].batch = std::move(step.batches[r]);
  ForEachRank([&](int64_t rank) {
    const TrainModel& model = *models_[static_cast<size_t>(rank)];
    Part& part = parts[static_cast<size_t>(rank)];
    const bool still = phase.tower_is_still();
    const auto tower = [&] {
      const c10::AutoGradMode mode(!still);
      return model.TowerLayers();
    };
    part.encoded = model.Encode(tower(), part.batch.passages, part.batch.questions,
                                part.batch.chunk_tokens, still);
  });
  ForEachRank([&](int64_t rank) { Learn(parts, rank, step.targets, phase); });
  SumGradients();
  // The first device's losses of routing are of all; a reading loss is a mean over devices.
  std::map<std::string, at::Tensor> losses = std::move(parts.front().losses);
  const char* task = kTaskNames[static_cast<size_t>(parts.front().batch.task)];
  const auto reading = losses.find(task);
  for (size_t r = 1; r < parts.size() && reading != losses.end(); ++r) {
    const auto other = parts[r].losses.find(task);
    if (other == parts[r].losses.end()) continue;
    const at::Tensor moved = other->second.to(reading->second.device());
    reading->second = reading->second + (moved - reading->second) / static_cast<double>(r + 1);
  }
  return losses;
}

// The losses of a device, and their gradients in its model.
void Trainer::Learn(std::vector<Part>& parts, int64_t rank, const RoutingTargets& targets,
                    const TrainPhase& phase) const {
  const TrainModel& model = *models_[static_cast<size_t>(rank)];
  TrainBatch& batch = parts[static_cast<size_t>(rank)].batch;
  const EncodedRows& encoded = parts[static_cast<size_t>(rank)].encoded;
  auto& losses = parts[static_cast<size_t>(rank)].losses;
  Pending pending;
  bool routed = Taught(phase);
  const bool still = phase.tower_is_still();
  for (const Part& part : parts) routed = routed || !part.batch.routable.empty();
  if (routed && !still) pending.Add(RoutingLoss(parts, rank, targets, phase));
  const bool answer = batch.task == TrainTask::kAnswer;
  at::Tensor scores;
  if (answer) {
    const c10::AutoGradMode mode(!still);
    scores = model.Scores(encoded, model.RoutingWeights());
    Attach(scores, &batch);
  }

  if (batch.read.rows.num_rows() > 0) {
    // The reader goes forth and back in portions; what portions share gathers their gradients.
    EncodedRows latents;
    latents.first_chunk = encoded.first_chunk;
    for (const at::Tensor& k : encoded.k) latents.k.push_back(pending.Cut(k));
    for (const at::Tensor& v : encoded.v) latents.v.push_back(pending.Cut(v));
    const UpdatedLayers reader = pending.Cut(model.ReaderLayers());
    const UpdatedLayers text_reader =
        model.has_text_reader() ? pending.Cut(model.TextReaderLayers()) : reader;
    const bool addressed = answer && config_.addressing;
    at::Tensor row_scores;
    if (addressed) {
      std::vector<int64_t> questions;
      for (const TrainBatch::AnswerRow& row : batch.answer_rows) questions.push_back(row.question);
      row_scores = pending.Cut(scores.index_select(0, OnDevice(questions, model.device())));
    }
    // All devices' sums make a mean.
    const double weight = phase.reading_weight / static_cast<double>(num_ranks());
    double total = 0;
    for (const float w : batch.read.weights) total += w;
    at::Tensor sum = at::zeros({}, at::device(model.device()).dtype(at::kFloat));
    const at::Tensor teacher = Teach(model, batch.told);
    for (const Portion& portion : Portions(batch.read, config_.micro_tokens)) {
      const auto of_part = [&](const at::Tensor& x, const std::vector<int64_t>& ids) {
        return x.defined() ? x.index_select(0, OnDevice(ids, model.device())) : x;
      };
      const TokenLoss loss =
          model.Read(portion.beside_text ? text_reader : reader, portion.rows, &latents,
                     of_part(row_scores, portion.row_ids), of_part(teacher, portion.target_ids));
      torch::autograd::backward({loss.sum * (weight / total)}, {});
      sum += loss.sum.detach();
    }
    losses[kTaskNames[static_cast<size_t>(batch.task)]] = sum / total;
  }
  pending.Backward();
  for (auto& [name, value] : losses) value = value.detach();
}

// [targets, hidden]: the states from which the backbone alone predicts what it is told; undefined
// if nothing is.
at::Tensor Trainer::Teach(const TrainModel& model, const ReaderRows& told) const {
  const c10::NoGradGuard guard;
  if (told.rows.num_rows() == 0) return {};
  const UpdatedLayers plain = model.PlainLayers();
  std::vector<at::Tensor> states;
  for (const Portion& portion : Portions(told, config_.micro_tokens)) {
    states.push_back(model.Predict(plain, portion.rows, nullptr, {}));
  }
  return at::cat(states);
}

// Into the first model's.
void Trainer::SumGradients() const {
  const c10::NoGradGuard guard;
  const auto& first = models_.front()->parameters().all();
  for (int64_t r = 1; r < num_ranks(); ++r) {
    const auto& others = models_[static_cast<size_t>(r)]->parameters().all();
    for (size_t i = 0; i < first.size(); ++i) {
      const at::Tensor& gradient = others[i].value.grad();
      if (!gradient.defined()) continue;
      const at::Tensor moved = gradient.to(first[i].value.device());
      at::Tensor& sum = first[i].value.mutable_grad();
      sum = sum.defined() ? sum.add_(moved) : moved;
    }
  }
}

void Trainer::CopyValues() const {
  const c10::NoGradGuard guard;
  const auto& first = models_.front()->parameters().all();
  for (int64_t r = 1; r < num_ranks(); ++r) {
    const auto& others = models_[static_cast<size_t>(r)]->parameters().all();
    for (size_t i = 0; i < first.size(); ++i) others[i].value.copy_(first[i].value);
  }
}

std::map<std::string, double> Trainer::Check(int64_t passages) const {
  const c10::NoGradGuard guard;
  std::map<std::string, double> out;
  const auto mean = [](const TokenLoss& loss) { return loss.nll.mean().item<double>(); };
  TrainBatch batch = batches_->MakeCheck(passages, config_.chunk_tokens);
  if (batch.read.rows.num_rows() == 0) return out;
  const TrainModel& model = *models_.front();
  const double plain = mean(model.Read(model.PlainLayers(), batch.read, nullptr, {}));
  out["nats"] = plain;
  const UpdatedLayers tower = model.TowerLayers();
  const UpdatedLayers reader = model.ReaderLayers();
  for (const auto& [tokens, share] : config_.chunk_shares) {
    const EncodedRows encoded = model.Encode(tower, batch.passages, {}, tokens);
    const double with = mean(model.Read(reader, batch.read, &encoded, {}));
    const std::string size = std::to_string(tokens);
    out["nats@" + size] = with;
    out["kept@" + size] = 1 - with / plain;
  }
  return out;
}

Status Trainer::SaveCheckpoint(int64_t step) const {
  const Json config = {{"step", step}, {"adam_step", adam_step_}, {"config", config_.ToJson()}};
  return models_.front()->parameters().Save(Path("checkpoint.safetensors"), config.dump(),
                                            /*moments=*/true);
}

Result<int64_t> Trainer::LoadCheckpoint(const std::string& path) {
  bool moments = false;
  MSA_ASSIGN_OR_RETURN(const std::string text, models_.front()->parameters().Load(path, &moments));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step")) return DataLoss(path + ": no step recorded");
  adam_step_ = moments ? json.value("adam_step", int64_t{0}) : 0;
  return json["step"].get<int64_t>();
}

// The values of a checkpoint or of an adapter.
Status Trainer::LoadStart(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  if (!Adapter::IsAdapter(*file)) {
    MSA_RETURN_IF_ERROR(LoadCheckpoint(path).status());
    adam_step_ = 0;
    return OkStatus();
  }
  TrainModel& model = *models_.front();
  MemoryConfig memory = model.options().memory;
  MSA_ASSIGN_OR_RETURN(const Adapter adapter, Adapter::Load(path, model.config(), &memory));
  return model.Import(adapter);
}

Status Trainer::SaveAdapter() const {
  const TrainModel& model = *models_.front();
  Adapter adapter = model.Export();
  adapter.latent_weight = config_.latent_weight;
  adapter.key_whitening = config_.key_whitening;
  adapter.question = batches_->question_template();
  // For people elsewhere: names of files, no folders.
  TrainConfig told = config_;
  for (std::string* path : {&told.model, &told.pack, &told.teacher}) {
    *path = std::filesystem::path(*path).filename();
  }
  told.output.clear();
  adapter.training = told.ToJson();
  return adapter.Save(Path("adapter.safetensors"), model.config(), model.options().memory,
                      DType::kI8);
}

Status Trainer::Save(int64_t step) const {
  MSA_RETURN_IF_ERROR(SaveCheckpoint(step));
  return SaveAdapter();
}

Result<TrainReport> Trainer::Run(const TrainRunOptions& options) {
  TrainReport report;
  int64_t step = 0;
  const std::string checkpoint = Path("checkpoint.safetensors");
  if (options.resume && std::filesystem::exists(checkpoint)) {
    MSA_ASSIGN_OR_RETURN(step, LoadCheckpoint(checkpoint));
  } else if (!options.start.empty()) {
    MSA_RETURN_IF_ERROR(LoadStart(options.start));
  }
  CopyValues();
  Parameters& parameters = models_.front()->parameters();
  std::ofstream log(Path("log.jsonl"), step == 0 ? std::ios::trunc : std::ios::app);
  if (!log) return IoError(Path("log.jsonl") + ": cannot be written");
  const int64_t last = config_.total_steps();
  Progress progress("training", "steps", last - step, options.progress);
  const auto start = Clock::now();
  double check_seconds = 0;
  const auto check = [&](int64_t at) {
    const auto began = Clock::now();
    report.check = Check(kCheckPassages);
    Json line = report.check;
    line["step"] = at;
    log << line.dump() << std::endl;
    check_seconds += SecondsSince(began);
  };
  std::map<std::string, std::vector<at::Tensor>> sums;  // since the last line of the log
  int64_t logged_tokens = 0;
  auto logged_at = Clock::now();
  std::future<TrainStep> next =
      std::async(std::launch::async, [this, step] { return MakeStep(step); });
  const auto cancelled = [&] { return options.cancelled != nullptr && options.cancelled->load(); };
  const auto out_of_time = [&] {
    return config_.max_seconds > 0 && SecondsSince(start) > config_.max_seconds;
  };
  for (; step < last && !cancelled() && !out_of_time(); ++step) {
    TrainStep made = next.get();
    if (step + 1 < last) {
      next = std::async(std::launch::async, [this, step] { return MakeStep(step + 1); });
    }
    int64_t at = 0;
    const TrainPhase& phase = PhaseOf(step, &at);
    for (const TrainBatch& batch : made.batches) {
      report.passage_tokens += batch.passages.num_tokens();
      report.reader_tokens += batch.read.rows.num_tokens();
    }
    for (const auto& model : models_) model->parameters().ClearGradients();
    for (const auto& [name, value] : Differentiate(std::move(made), phase)) {
      sums[name].push_back(value);
    }
    const at::Tensor norm = parameters.GradientNorm();
    sums["gradient"].push_back(norm);
    parameters.Step(Rates(step), norm, config_.clip, ++adam_step_);
    CopyValues();
    ++report.steps;
    progress.Add(1);
    if ((step + 1) % config_.log_steps == 0 || step + 1 == last) {
      Json line = {{"step", step + 1}, {"phase", phase.name}};
      for (const auto& [name, values] : sums) {
        line[name] = at::stack(values).mean().item<double>();
        if (!std::isfinite(line[name].get<double>())) {
          return Internal("step " + std::to_string(step + 1) + ": " + name +
                          " is not finite; the last good checkpoint is " + checkpoint);
        }
      }
      const double seconds = SecondsSince(logged_at) - check_seconds;
      line["rate"] = Rates(step)[static_cast<size_t>(ParameterGroup::kReader)];
      line["scale"] = models_.front()->RoutingScale().item<double>();
      line["tokens_per_second"] =
          static_cast<double>(report.passage_tokens - logged_tokens) / std::max(seconds, 1e-9);
      log << line.dump() << std::endl;
      report.seconds += seconds;
      sums.clear();
      logged_tokens = report.passage_tokens;
      logged_at = Clock::now();
      check_seconds = 0;
    }
    if (config_.check_steps > 0 && (step + 1) % config_.check_steps == 0) check(step + 1);
    if (config_.checkpoint_steps > 0 && (step + 1) % config_.checkpoint_steps == 0) {
      MSA_RETURN_IF_ERROR(Save(step + 1));
    }
  }
  if (next.valid()) next.wait();
  progress.Finish();
  check(step);
  report.cancelled = cancelled();
  MSA_RETURN_IF_ERROR(Save(step));
  report.adapter = Path("adapter.safetensors");
  log.close();
  MSA_RETURN_IF_ERROR(WriteCurves(Path("log.jsonl"), Path("curves.svg")));
  return report;
}

Result<TrainReport> TrainAdapter(const TrainConfig& config, const TrainRunOptions& options) {
  MSA_ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(config));
  return trainer->Run(options);
}

}  // namespace msa
