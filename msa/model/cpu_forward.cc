#include "msa/model/cpu_forward.h"

#include <algorithm>

#include "msa/kernels/isa.h"
#include "msa/kernels/pool.h"
#include "msa/model/backbone_set.h"
#include "msa/model/cpu_adapter.h"
#include "msa/model/cpu_backbone.h"
#include "msa/model/cpu_encoder.h"
#include "msa/model/cpu_pass.h"
#include "msa/model/cpu_session.h"

namespace msa {
namespace {

// Tokens a thread takes through the layers at once: with more, weights are read less often, but the
// last packs end on one thread while others wait.
constexpr int64_t kPackTokens = 512;

class CpuForward : public Transformer {
 public:
  CpuForward(const WeightSource& source, const MemoryPlan& plan, WeightMode mode, int num_threads)
      : plan_(plan),
        mode_(mode),
        pool_(num_threads),
        passage_rope_(plan.memory.passage_tokens, plan.backbone.rope_frequencies),
        backbones_(source, plan,
                   [this](const AdaptedWeights& weights, CpuBackbone::Parts parts) {
                     const WeightFormat format =
                         mode_ == WeightMode::kI8 ? WeightFormat::kI8Row : WeightFormat::kI4Block;
                     return CpuBackbone::Load(weights, format, pool_, std::move(parts));
                   }),
        encoders_(static_cast<size_t>(pool_.num_threads())) {}

  Status Load() {
    for (const AdapterLayer& layer : plan_.adapter.layers) {
      MSA_ASSIGN_OR_RETURN(auto loaded, CpuAdapterLayer::Load(layer, plan_.backbone.hidden_size));
      adapter_.push_back(std::move(loaded));
    }
    return backbones_.Tower().status();
  }

  Status Encode(std::span<const std::span<const TokenId>> passages, EncodedBatch* out) override {
    std::vector<PassageOutput> outputs;
    PassageOutput next{out->keys.data(), out->latents.data()};
    int64_t tokens = 0;
    for (size_t i = 0; i < passages.size(); ++i) {
      outputs.push_back(next);
      next.keys += out->chunks[i] * plan_.key_dim();
      next.latents += out->chunks[i] * plan_.latent_size();
      tokens += std::ssize(passages[i]);
    }
    // Two packs a thread at least, and the longest passages first: threads end together.
    const int64_t share = tokens / (2 * pool_.num_threads()) + 1;
    std::vector<Pack> packs = PackPassages(passages, std::min(kPackTokens, share));
    std::reverse(packs.begin(), packs.end());
    MSA_ASSIGN_OR_RETURN(const CpuBackbone* tower, backbones_.Tower());
    const CpuEncoderInput input{tower, &plan_, adapter_, &passage_rope_, passages, outputs};
    pool_.ParallelFor(std::ssize(packs), 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        encoders_[static_cast<size_t>(thread)].Encode(input, packs[static_cast<size_t>(i)]);
      }
    });
    const int64_t key_heads = std::ssize(out->keys) / plan_.backbone.head_dim;
    NormaliseHeads({out->keys.data(), key_heads, plan_.backbone.head_dim}, plan_.backbone.head_dim);
    return OkStatus();
  }

  Result<std::vector<float>> RouteQuery(std::span<const TokenId> tokens) override {
    const BackboneConfig& config = plan_.backbone;
    const int64_t rows = std::ssize(tokens);
    const int64_t keys = config.query_size();
    const int64_t values = keys + config.kv_size();
    const RopeTable rope(rows, config.rope_frequencies);
    const std::vector<int32_t> positions = ConsecutivePositions(0, rows);
    std::vector<float> folded(static_cast<size_t>(plan_.key_dim()), 0.0f);
    MSA_ASSIGN_OR_RETURN(const CpuBackbone* tower, backbones_.Tower());
    KvCache cache(tower->attention_shape());
    CpuPass pass(*tower, pool_);
    pass.Run(tokens, plan_.last_routing_layer(),
             [&](int64_t layer, MatrixView<float> qkv, MatrixView<float> attention) {
               if (const int64_t routing = plan_.memory.RoutingIndex(layer); routing >= 0) {
                 const std::vector<float> q = RoutingQuery(*tower, layer, pass.hidden(), qkv);
                 Fold(routing, q, folded);
               }
               if (layer == plan_.last_routing_layer()) return false;
               tower->Rotate(tower->layer(layer), qkv, rope, positions);
               cache.Truncate(0);
               cache.Append(ColumnRange(qkv, keys, values), ColumnRange(qkv, values, qkv.cols));
               AttendCache(ColumnRange(qkv, 0, keys), cache, {}, attention, &pool_);
               return true;
             });
    return folded;
  }

  Result<std::unique_ptr<Session>> StartSession(std::optional<AttachedMemory> memory) override {
    MSA_ASSIGN_OR_RETURN(const CpuBackbone* backbone,
                         backbones_.ReaderOf(memory ? &*memory : nullptr));
    return StartCpuSession(*backbone, plan_, pool_, memory);
  }

  int64_t resident_bytes() const override {
    int64_t bytes = backbones_.resident_bytes();
    for (const CpuAdapterLayer& layer : adapter_) bytes += layer.resident_bytes();
    return bytes;
  }
  std::string compute_description() const override {
    return std::string(WeightModeName(mode_)) + " (" + std::string(IsaName(BestIsa())) + ", " +
           std::to_string(pool_.num_threads()) + " threads)";
  }

 private:
  // q_h = normalise(Wq' x) of the last token, [H, D].
  std::vector<float> RoutingQuery(const CpuBackbone& tower, int64_t layer,
                                  MatrixView<const float> hidden, MatrixView<const float> qkv) {
    const BackboneConfig& config = plan_.backbone;
    std::vector<float> q(static_cast<size_t>(config.query_size()));
    const MatrixView<float> heads(q.data(), config.num_heads, config.head_dim);
    const auto& trained =
        adapter_[static_cast<size_t>(plan_.memory.MemoryIndex(layer))].router_query;
    if (trained == nullptr) {
      std::copy_n(qkv.row(qkv.rows - 1).data(), q.size(), q.data());
    } else {
      tower.MultiplyInput(tower.layer(layer), *trained,
                          RowRange(hidden, hidden.rows - 1, hidden.rows),
                          {q.data(), 1, std::ssize(q)}, &pool_);
    }
    NormaliseHeads(heads, config.head_dim);
    return q;
  }

  // Adds (w_l / H) q_h to its group's part of the folded query.
  void Fold(int64_t routing, std::span<const float> q, std::span<float> folded) const {
    const BackboneConfig& config = plan_.backbone;
    const int64_t dim = config.head_dim;
    const int64_t group = config.num_heads / config.num_kv_heads;
    const double w = plan_.adapter.routing_weights[static_cast<size_t>(routing)];
    const auto weight = static_cast<float>(w / static_cast<double>(config.num_heads));
    for (int64_t i = 0; i < std::ssize(q); ++i) {
      const int64_t to = routing * config.kv_size() + i / dim / group * dim + i % dim;
      folded[static_cast<size_t>(to)] += weight * q[static_cast<size_t>(i)];
    }
  }

  const MemoryPlan& plan_;
  const WeightMode mode_;
  ThreadPool pool_;
  const RopeTable passage_rope_;
  BackboneSet<CpuBackbone> backbones_;
  std::vector<CpuAdapterLayer> adapter_;  // one a memory layer
  std::vector<CpuEncoder> encoders_;      // one a thread
};

}  // namespace

Result<std::unique_ptr<Transformer>> LoadCpuForward(const WeightSource& source,
                                                    const MemoryPlan& plan, WeightMode mode,
                                                    int num_threads) {
  MSA_CHECK(mode == WeightMode::kI8 || mode == WeightMode::kI4);
  auto forward = std::make_unique<CpuForward>(source, plan, mode, num_threads);
  MSA_RETURN_IF_ERROR(forward->Load());
  return std::unique_ptr<Transformer>(std::move(forward));
}

}  // namespace msa
