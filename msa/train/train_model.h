// A backbone with a memory, differentiable: the mathematics of memory_model.h once more, in the
// form that gradients pass through. The backbone itself is frozen. See design.md, The mathematics.
//
// Nothing is padded: the rows of a batch lie side by side. Products are in bf16 on a GPU and f32 on
// a CPU, trained values always f32.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msa/base/status.h"
#include "msa/model/adapter.h"
#include "msa/model/weight_source.h"
#include "msa/train/operations.h"
#include "msa/train/parameters.h"
#include "msa/train/token_rows.h"

namespace msa {

struct TrainModelOptions {
  MemoryConfig memory;             // layers resolved; chunk_tokens is the adapter's default P
  int64_t max_chunk_tokens = 128;  // the largest P
  int64_t tower_rank = 32;
  int64_t reader_rank = 32;
  int64_t text_reader_rank = 0;  // 0: the reader reads texts, too
  double update_scale = 2;       // W' = W + scale b^T a
  bool addressing = false;       // learn alpha: latents weigh by their passage's routing score
  double routing_scale = 20;
  uint64_t seed = 0;
};

// Matrices of one layer as they multiply, in the type of computation.
struct UpdatedLayer {
  at::Tensor qkv;      // [(H + 2 G) D, hidden]
  at::Tensor output;   // [hidden, H D]
  at::Tensor gate_up;  // [2 I, hidden]
  at::Tensor down;     // [hidden, I]
};
using UpdatedLayers = std::vector<UpdatedLayer>;

// What the passages and questions of a batch become.
struct EncodedRows {
  std::vector<int64_t> first_chunk;  // [passages + 1]: passage p has chunks first_chunk[p] to …
  std::vector<at::Tensor> k, v;      // one a memory layer, [N, G, D]
  at::Tensor keys;                   // [N, E] f32, each head of unit length
  at::Tensor queries;                // [questions, E] f32, folded, before the layers' weights
};

// Rows that read, each with the passages attached to it.
struct ReaderRows {
  TokenRows rows;
  std::vector<std::vector<int64_t>> attached;  // passages of each row; empty for all: no memory
  std::vector<bool> beside_text;               // of each row: its prompt holds texts
  // Tokens to predict: `targets[i]` from the hidden state at `positions[i]`, an index into all
  // tokens of `rows`.
  std::vector<int64_t> positions;
  std::vector<int64_t> targets;
  std::vector<float> weights;
  // Of each target, how much a teacher's prediction stands for; empty: nothing.
  std::vector<float> taught;

  // A row whose tokens from `first_target` on, but for its first, are each to be predicted from
  // those before.
  void AddRow(std::span<const TokenId> row, int64_t first_target);
};

class TrainModel {
 public:
  static Result<std::unique_ptr<TrainModel>> Load(const WeightSource& source,
                                                  const TrainModelOptions& options,
                                                  at::Device device);

  const BackboneConfig& config() const { return config_; }
  const TrainModelOptions& options() const { return options_; }
  Parameters& parameters() { return parameters_; }
  at::Device device() const { return device_; }
  // Multiplies routing scores in the contrastive losses; learned, at most 100.
  at::Tensor RoutingScale() const;
  // [routing layers]: how much each counts in a score; their sum is 1.
  at::Tensor RoutingWeights() const { return at::softmax(routing_weights_, 0); }

  // The backbone with the tower's or a reader's updates; gradients flow to them.
  UpdatedLayers TowerLayers() const { return Update(tower_); }
  UpdatedLayers ReaderLayers() const { return Update(reader_); }
  bool has_text_reader() const { return options_.text_reader_rank > 0; }
  UpdatedLayers TextReaderLayers() const { return Update(text_reader_); }
  UpdatedLayers PlainLayers() const;

  // Encodes `passages` in chunks of `chunk_tokens` (at most the largest P) and folds `questions`,
  // in one pass. `questions` may be empty. `still`: gradients flow to the latents' residuals alone,
  // and routing stays what it is.
  EncodedRows Encode(const UpdatedLayers& tower, const TokenRows& passages,
                     const TokenRows& questions, int64_t chunk_tokens, bool still = false) const;

  // [questions, passages] f32: the best chunk of each passage, by all routing layers with these
  // weights or by one (an index into them) alone.
  at::Tensor Scores(const EncodedRows& encoded, const at::Tensor& weights) const;
  at::Tensor LayerScores(const EncodedRows& encoded, int64_t routing_layer) const;

  // [targets, hidden]: the states that predict the targets of `read`, after the output norm, with
  // latents of `encoded` attached (null: none). `scores` [rows, passages], for addressing: the
  // routing score of each passage for each row; undefined: latents weigh alike.
  at::Tensor Predict(const UpdatedLayers& reader, const ReaderRows& read,
                     const EncodedRows* encoded, const at::Tensor& scores) const;
  // The loss of what `read` predicts, see Predict; `teacher` [targets, hidden] are the states that
  // `taught` shares of the targets come from, undefined if there are none.
  TokenLoss Read(const UpdatedLayers& reader, const ReaderRows& read, const EncodedRows* encoded,
                 const at::Tensor& scores, const at::Tensor& teacher = {}) const;

  // Copies the trained values into an adapter (its fusion weight and template are the caller's).
  Adapter Export() const;
  // Goes on from an adapter of the same memory and routing layers. kFailedPrecondition: its ranks
  // or its largest P exceed this model's.
  Status Import(const Adapter& adapter);

 private:
  struct LowRankSet {
    std::array<at::Tensor, 7> a;  // [layers, rank, inputs], as kAdaptedWeights
    std::array<at::Tensor, 7> b;  // [layers, rank, outputs]
  };
  struct Angles {
    at::Tensor cos, sin;  // [T, D / 2] f32
  };
  struct Heads {
    at::Tensor q, k, v;  // [T, H, D], [T, G, D] twice; q and k turned
  };
  struct Chunks;
  struct MemoryParameters;

  TrainModel(BackboneConfig config, TrainModelOptions options, at::Device device)
      : config_(std::move(config)), options_(std::move(options)), device_(device) {}

  Status LoadBackbone(const WeightSource& source);
  void MakeParameters();
  LowRankSet MakeSet(const std::string& name, ParameterGroup group, int64_t rank);
  UpdatedLayers Update(const LowRankSet& set) const;
  UpdatedLayers Split(const std::array<at::Tensor, 7>& stacks) const;

  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const;
  Angles AnglesOf(const TokenRows& rows, int64_t first_position) const;
  Heads Project(int64_t layer, const UpdatedLayer& weights, const at::Tensor& x,
                const Angles& angles) const;
  at::Tensor Finish(int64_t layer, const UpdatedLayer& weights, const at::Tensor& hidden,
                    const at::Tensor& attention) const;
  // `still`: none but the residuals' are differentiated.
  MemoryParameters SplitMemory(int64_t chunk_tokens, bool still) const;
  at::Tensor PoolWeights(const MemoryParameters& memory, int64_t m, const at::Tensor& x,
                         const Chunks& chunks) const;
  void Pool(const MemoryParameters& memory, int64_t m, const at::Tensor& x, const Heads& heads,
            const at::Tensor& weights, const Chunks& chunks, EncodedRows* out) const;
  at::Tensor RoutingKey(const MemoryParameters& memory, int64_t r, const at::Tensor& x,
                        const at::Tensor& weights, const Chunks& chunks) const;
  at::Tensor RoutingQuery(const MemoryParameters& memory, int64_t r, const at::Tensor& x) const;
  at::Tensor BestChunks(const at::Tensor& scores, const std::vector<int64_t>& first_chunk) const;

  const BackboneConfig config_;
  const TrainModelOptions options_;
  const at::Device device_;
  at::ScalarType compute_ = at::kFloat;

  // Frozen.
  at::Tensor embedding_, output_, output_norm_;  // in the type of computation
  std::vector<at::Tensor> attention_norm_, mlp_norm_, query_norm_, key_norm_;
  std::array<at::Tensor, 7> stacks_;  // f32 [layers, outputs, inputs], as kAdaptedWeights
  at::Tensor frequencies_;            // [D / 2] f32

  Parameters parameters_;
  LowRankSet tower_, reader_;
  LowRankSet text_reader_;        // undefined without
  at::Tensor pool_score_;         // [M, G, hidden]
  at::Tensor pool_position_;      // [M, max P, G]
  at::Tensor residual_;           // [M, 2 G D, hidden]: U_k above U_v
  at::Tensor residual_position_;  // [M, max P, 2 G D]
  at::Tensor router_key_;         // [R, G D, hidden]
  at::Tensor router_query_;       // [R, H D, hidden]
  at::Tensor routing_weights_;    // [R], before softmax
  at::Tensor alpha_;              // [M], its positive part counts; undefined without addressing
  at::Tensor log_scale_;          // []
};

}  // namespace msa
