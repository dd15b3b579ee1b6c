// What `msa train run --config FILE` does: one JSON object, every key optional but `pack` and
// `output`. docs/training.md lists the keys; an unknown one is an error.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/status.h"

namespace msa {

// A stretch of steps under one mixture of tasks and one schedule of learning rates.
struct TrainPhase {
  std::string name = "phase";
  int64_t steps = 1000;

  // Shares of the steps, normalised: what the reader learns from the step's latents.
  double reconstruct = 1;  // a passage from its own latents
  double stranger = 0.15;  // a passage beside another document's latents
  double proceed = 0.1;    // the next passage of the document
  double answer = 0;       // answers through the passages that routing selected

  int64_t questions = 256;    // of a step, each with its passage
  double cut_share = 0.5;     // of them: sentences cut from passages
  double one_source = 0.5;    // share of steps whose pairs come from one source
  double hard_share = 0;      // share of steps whose pairs come with their neighbours
  int64_t more_passages = 0;  // further passages in an answer step
  double made_share = 0.3;    // of an answer step's questions: made from the passages
  // At most so many passages for an answer, the right one among them; 0: none, the reader learns to
  // answer from the text of its prompt alone.
  int64_t attach = 4;
  double text_share = 0.2;     // answer rows whose prompt also holds original texts
  int64_t texts = 1;           // at most, the right ones among them
  double absent_share = 0.05;  // answer rows without the right passage: to be told so
  // Of an answer: the share that is what the backbone predicts where it reads the text itself,
  double text_teacher = 0;
  // and likewise where the prompt holds texts: there is less to learn from it there.
  double beside_text_teacher = 0;
  // Of a passage beside a stranger's latents: the share that is what the backbone predicts alone.
  double stranger_teacher = 0;
  int64_t reader_passages = 0;  // of a step's passages that are read back; 0: all
  double span_share = 0;        // passages reconstructed from some token within, not the first
  int64_t beside = 0;           // at most so many others attached where a passage is read back

  double reading_weight = 1;
  double contrastive_weight = 1;
  double layer_weight = 0.25;  // of the contrastive loss of each routing layer alone
  double teacher_weight = 3;
  double teacher_temperature = 0.05;

  double update_rate = 8e-4;  // learning rates at their height
  double router_rate = 3e-4;
  double scale_rate = 1.5e-3;
  // Of update_rate and router_rate for all that routing and encoding use; 0: they keep still, and
  // only the reader and the latents' residuals learn.
  double tower_factor = 1;
  int64_t warmup_steps = 50;
  double last_rate = 0.05;  // of the height, where the cosine ends

  bool tower_is_still() const { return tower_factor == 0; }
};

struct TrainConfig {
  std::string model;          // empty: the default model
  std::string chat_template;  // a family; empty: recognise the model's own
  std::string pack;
  std::string teacher;  // empty: no distillation
  std::string output;  // folder: adapter.safetensors, checkpoint.safetensors, log.jsonl, curves.svg
  std::string device = "cpu";  // or several, "cuda:0,cuda:1": each takes a batch of its own a step
  uint64_t seed = 1;

  std::vector<int64_t> memory_layers;                  // empty: the upper half
  std::vector<int64_t> routing_layers;                 // empty: the last memory layer
  int64_t chunk_tokens = 32;                           // the adapter's default P
  std::map<int64_t, double> chunk_shares = {{32, 1}};  // share of steps by P
  int64_t tower_rank = 32;
  int64_t reader_rank = 32;
  int64_t text_reader_rank = 0;  // of a reader of its own for prompts with texts; 0: none
  double update_scale = 2;
  bool addressing = false;
  double routing_scale = 20;   // of scores in contrastive losses, at first; learned
  double latent_weight = 1;    // written into the adapter
  double key_whitening = 0.2;  // likewise

  std::map<std::string, double>
      source_weights;  // of a source's pairs or passages, times the default
  // How much the teacher counts for a source's questions and passages, 1 where none is given: it
  // may know some kinds of text less well than the router does.
  std::map<std::string, double> teacher_weights;
  std::vector<TrainPhase> phases = {TrainPhase()};
  double clip = 1;
  int64_t micro_tokens = 32768;  // reader tokens that are differentiated at once
  int64_t log_steps = 10;
  int64_t check_steps = 200;       // validation
  int64_t checkpoint_steps = 500;  // 0: only at the end
  double max_seconds = 0;  // stop, as if all steps were done; 0: never. Rates follow the steps
  bool deterministic = false;

  int64_t total_steps() const;
  std::vector<std::string> devices() const;
  static Result<TrainConfig> FromJson(std::string_view json);
  std::string ToJson() const;
};

// A source's own weight, or 1 where none is given.
double WeightOf(const std::map<std::string, double>& weights, const std::string& source);

}  // namespace msa
