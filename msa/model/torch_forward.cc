#include "msa/model/torch_forward.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <map>

#include "msa/model/backbone_set.h"
#include "msa/model/torch_backbone.h"
#include "msa/model/torch_score.h"
#include "msa/model/torch_session.h"

namespace msa {
namespace {

// Tokens of one forward pass: enough to fill the device, few enough to bound its activations.
constexpr int64_t kCpuPackTokens = 2048;
constexpr int64_t kGpuPackTokens = 32768;
// Some packs, so that what their lengths have in common is found, and one is copied while the next
// is computed.
constexpr int64_t kGpuBatchTokens = 131072;

// Divides each head's run (the last dimension) by its L2 norm.
at::Tensor NormaliseLast(const at::Tensor& x) {
  return x / x.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

// Passages of one pack side by side, padded at the right: in a causal pass no token sees the
// padding, and what padding computes is left out of every chunk.
struct PaddedBatch {
  at::Tensor tokens;    // [B, T]
  at::Tensor chunk;     // [B * T]: each token's chunk in the pack; num_chunks for padding
  at::Tensor position;  // [B * T]: in its chunk
  at::Tensor share;     // [B * T] f32: 1 / tokens of its chunk
  int64_t num_chunks = 0;
};

PaddedBatch MakeBatch(std::span<const std::span<const TokenId>> passages, const Pack& pack,
                      int64_t chunk_tokens, at::Device device) {
  const auto rows = static_cast<int64_t>(pack.size());
  // A pack is ascending in length.
  const auto columns = static_cast<int64_t>(passages[static_cast<size_t>(pack.back())].size());
  PaddedBatch batch;
  batch.tokens = at::zeros({rows, columns}, at::kInt);
  batch.chunk = at::full({rows, columns}, -1, at::kLong);
  batch.position = (at::arange(columns, at::kLong) % chunk_tokens).repeat({rows}).to(device);
  for (int64_t row = 0; row < rows; ++row) {
    const auto passage = passages[static_cast<size_t>(pack[static_cast<size_t>(row)])];
    auto* tokens = batch.tokens.data_ptr<int32_t>() + row * columns;
    auto* chunk = batch.chunk.data_ptr<int64_t>() + row * columns;
    for (int64_t i = 0; i < static_cast<int64_t>(passage.size()); ++i) {
      tokens[i] = passage[static_cast<size_t>(i)];
      chunk[i] = batch.num_chunks + i / chunk_tokens;
    }
    batch.num_chunks += (static_cast<int64_t>(passage.size()) + chunk_tokens - 1) / chunk_tokens;
  }
  batch.chunk = batch.chunk.flatten();
  batch.chunk.masked_fill_(batch.chunk < 0, batch.num_chunks);
  const at::Tensor sizes = at::bincount(batch.chunk, {}, batch.num_chunks + 1);
  batch.share = sizes.to(at::kFloat).reciprocal().index_select(0, batch.chunk).to(device);
  batch.chunk = batch.chunk.to(device);
  batch.tokens = batch.tokens.to(device);
  return batch;
}

class TorchForward : public Transformer {
 public:
  TorchForward(const WeightSource& source, const MemoryPlan& plan, WeightMode mode,
               at::Device device)
      : plan_(plan),
        mode_(mode),
        dtype_(mode == WeightMode::kF32 ? at::kFloat : at::kBFloat16),
        device_(device),
        backbones_(source, plan, [this](const AdaptedWeights& weights, TorchBackbone::Parts parts) {
          return TorchBackbone::Load(weights, dtype_, device_, std::move(parts));
        }) {}

  Status Load() {
    PlaceAdapter();
    return backbones_.Tower().status();
  }

  int64_t batch_tokens() const override {
    return device_.is_cpu() ? Transformer::batch_tokens() : kGpuBatchTokens;
  }

  Status Encode(std::span<const std::span<const TokenId>> passages, EncodedBatch* out) override {
    const int64_t pack_tokens = device_.is_cpu() ? kCpuPackTokens : kGpuPackTokens;
    std::vector<int64_t> first_chunk;  // of each passage in `out`
    int64_t total = 0;
    for (const int64_t chunks : out->chunks) {
      first_chunk.push_back(total);
      total += chunks;
    }
    return WithTorch([&]() -> Status {
      const auto opened = [](std::vector<float>& values, int64_t columns) {
        return at::from_blob(values.data(),
                             {static_cast<int64_t>(values.size()) / columns, columns}, at::kFloat);
      };
      const at::Tensor keys = opened(out->keys, plan_.key_dim());
      const at::Tensor latents = opened(out->latents, plan_.latent_size());
      MSA_ASSIGN_OR_RETURN(const TorchBackbone* tower, backbones_.Tower());
      for (const Pack& pack : PackPassages(passages, pack_tokens)) {
        const auto [pack_keys, pack_latents] = EncodePack(*tower, passages, pack);
        int64_t from = 0;
        for (const int64_t passage : pack) {
          const int64_t to = first_chunk[static_cast<size_t>(passage)];
          const int64_t count = out->chunks[static_cast<size_t>(passage)];
          keys.narrow(0, to, count).copy_(pack_keys.narrow(0, from, count));
          latents.narrow(0, to, count).copy_(pack_latents.narrow(0, from, count));
          from += count;
        }
      }
      return OkStatus();
    });
  }

  Result<std::vector<float>> RouteQuery(std::span<const TokenId> tokens) override {
    return WithTorch([&]() -> Result<std::vector<float>> {
      MSA_ASSIGN_OR_RETURN(const TorchBackbone* tower, backbones_.Tower());
      const at::Tensor query = FoldQuery(*tower, tokens).to(at::kFloat).cpu().contiguous();
      return std::vector<float>(query.data_ptr<float>(), query.data_ptr<float>() + query.numel());
    });
  }

  Result<std::unique_ptr<Session>> StartSession(std::optional<AttachedMemory> memory) override {
    return WithTorch([&]() -> Result<std::unique_ptr<Session>> {
      MSA_ASSIGN_OR_RETURN(const TorchBackbone* backbone,
                           backbones_.ReaderOf(memory ? &*memory : nullptr));
      return StartTorchSession(*backbone, plan_, std::move(memory));
    });
  }

  Result<std::vector<std::vector<float>>> Score(std::span<const ScoreRow> rows) override {
    return WithTorch([&]() -> Result<std::vector<std::vector<float>>> {
      // Rows with memory and rows without are not scored together, though one backbone read both.
      std::map<std::pair<const TorchBackbone*, bool>, std::vector<int64_t>> groups;
      for (int64_t i = 0; i < std::ssize(rows); ++i) {
        const AttachedMemory* memory = rows[static_cast<size_t>(i)].memory;
        MSA_ASSIGN_OR_RETURN(const TorchBackbone* backbone, backbones_.ReaderOf(memory));
        groups[{backbone, memory != nullptr && memory->needs_reader()}].push_back(i);
      }
      std::vector<std::vector<float>> nats(rows.size());
      for (const auto& [of, chosen] : groups) {
        ScoreWithTorch(*of.first, plan_, rows, chosen, nats);
      }
      return nats;
    });
  }

  int64_t resident_bytes() const override {
    int64_t bytes = backbones_.resident_bytes();
    for (const AdapterTensors& layer : adapter_) {
      for (const at::Tensor* tensor : layer.All()) {
        if (tensor->defined()) bytes += static_cast<int64_t>(tensor->nbytes());
      }
    }
    return bytes;
  }
  std::string compute_description() const override {
    std::string out = std::string(WeightModeName(mode_)) + " (libtorch " + device_.str();
    if (device_.is_cpu()) out += ", " + std::to_string(at::get_num_threads()) + " threads";
    return out + ")";
  }

 private:
  // One memory layer's; undefined where untrained.
  struct AdapterTensors {
    at::Tensor pool_score;                // [G, hidden]
    at::Tensor pool_position;             // [max P, G]
    std::array<at::Tensor, 2> residual;   // of key and value: [G D, hidden]
    std::array<at::Tensor, 2> position;   // likewise: [max P, G D]
    at::Tensor router_key, router_query;  // [G D, hidden], [H D, hidden]

    std::array<const at::Tensor*, 8> All() const {
      return {&pool_score,  &pool_position, &residual[0], &residual[1],
              &position[0], &position[1],   &router_key,  &router_query};
    }
  };

  // Puts the adapter's tensors on the device.
  void PlaceAdapter() {
    const auto place = [&](const std::vector<float>& values, int64_t columns) {
      if (values.empty()) return at::Tensor();
      return at::tensor(values).view({-1, columns}).to(device_, dtype_);
    };
    const int64_t hidden = plan_.backbone.hidden_size;
    const int64_t heads = plan_.backbone.num_kv_heads;
    const int64_t kv = plan_.backbone.kv_size();
    for (const AdapterLayer& layer : plan_.adapter.layers) {
      adapter_.push_back({place(layer.pool_score, hidden),
                          place(layer.pool_position, heads),
                          {place(layer.residual_key, hidden), place(layer.residual_value, hidden)},
                          {place(layer.key_position, kv), place(layer.value_position, kv)},
                          place(layer.router_key, hidden),
                          place(layer.router_query, hidden)});
    }
  }

  static at::Tensor CausalAttention(const TorchBackbone& tower, const TorchLayer& layer,
                                    const at::Tensor& x, const at::Tensor& k, const at::Tensor& v,
                                    const Rotation& rotation) {
    return at::scaled_dot_product_attention(tower.Query(layer, x, rotation), k, v,
                                            /*attn_mask=*/{}, /*dropout_p=*/0, /*is_causal=*/true,
                                            /*scale=*/std::nullopt, /*enable_gqa=*/true);
  }

  // a [B * T, G]: each token's weight in its chunk, softmax(s(x_i) + b_i) over the chunk's tokens.
  at::Tensor PoolWeights(const AdapterTensors& adapter, const at::Tensor& x,
                         const PaddedBatch& batch) const {
    const int64_t heads = plan_.backbone.num_kv_heads;
    at::Tensor logits = at::zeros({batch.chunk.size(0), heads}, x.options().dtype(at::kFloat));
    if (adapter.pool_score.defined()) {
      logits = logits + at::linear(x, adapter.pool_score).flatten(0, 1);
    }
    if (adapter.pool_position.defined()) {
      logits = logits + adapter.pool_position.index_select(0, batch.position);
    }
    const at::Tensor index = batch.chunk.unsqueeze(1).expand({-1, heads});
    const at::Tensor largest = at::full({batch.num_chunks + 1, heads},
                                        -std::numeric_limits<double>::infinity(), logits.options())
                                   .scatter_reduce(0, index, logits, "amax");
    const at::Tensor weights = (logits - largest.gather(0, index)).exp();
    const at::Tensor sums = at::zeros_like(largest).scatter_add(0, index, weights);
    return weights / sums.gather(0, index);
  }

  // Weighted sums of values [B * T, G, D] over each chunk: [chunks, G, D], f32.
  static at::Tensor Pool(const at::Tensor& weights, const at::Tensor& values,
                         const PaddedBatch& batch) {
    const at::Tensor weighted = values.to(at::kFloat) * weights.unsqueeze(2);
    return at::zeros({batch.num_chunks + 1, values.size(1), values.size(2)}, weighted.options())
        .index_add(0, batch.chunk, weighted)
        .narrow(0, 0, batch.num_chunks);
  }

  // sum a_i values_i + mean_i g_i * (U x_i) over each chunk; `part` 0: keys, 1: values.
  at::Tensor PoolLatent(const AdapterTensors& adapter, size_t part, const at::Tensor& x,
                        const at::Tensor& weights, const at::Tensor& values,
                        const PaddedBatch& batch) const {
    at::Tensor pooled = Pool(weights, values, batch);
    if (!adapter.residual[part].defined()) return pooled;
    const at::Tensor residual = at::linear(x, adapter.residual[part]).flatten(0, 1) *
                                adapter.position[part].index_select(0, batch.position);
    return pooled + Pool(batch.share.unsqueeze(1), residual.view_as(values), batch);
  }

  // Keys [chunks, E] and latents [chunks, layers * 2 * G * D] of one pack, f32 on the CPU.
  std::pair<at::Tensor, at::Tensor> EncodePack(const TorchBackbone& tower,
                                               std::span<const std::span<const TokenId>> passages,
                                               const Pack& pack) const {
    const BackboneConfig& c = plan_.backbone;
    const PaddedBatch batch = MakeBatch(passages, pack, plan_.memory.chunk_tokens, device_);
    const auto tokens_of = [](const at::Tensor& heads) {  // [B, G, T, D] to [B * T, G, D]
      return heads.transpose(1, 2).flatten(0, 1);
    };
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> latents;
    at::Tensor hidden = tower.Embed(batch.tokens);
    const Rotation rotation = tower.RotationAt(0, batch.tokens.size(1));
    for (int64_t l = 0; l <= plan_.last_memory_layer(); ++l) {
      const TorchLayer& layer = tower.layer(l);
      const at::Tensor x = tower.Norm(hidden, layer.attention_norm);
      const at::Tensor k = tower.Key(layer, x, rotation);
      const at::Tensor v = tower.Value(layer, x);
      if (const int64_t m = plan_.memory.MemoryIndex(l); m >= 0) {
        const AdapterTensors& adapter = adapter_[static_cast<size_t>(m)];
        const at::Tensor weights = PoolWeights(adapter, x, batch);
        latents.push_back(PoolLatent(adapter, 0, x, weights, tokens_of(k), batch));
        latents.push_back(PoolLatent(adapter, 1, x, weights, tokens_of(v), batch));
        if (plan_.memory.RoutingIndex(l) >= 0) {
          const at::Tensor& trained = adapter.router_key;
          const at::Tensor r = at::linear(x, trained.defined() ? trained : layer.key)
                                   .view({-1, c.num_kv_heads, c.head_dim});
          keys.push_back(NormaliseLast(Pool(weights, r, batch)));
        }
      }
      if (l == plan_.last_memory_layer()) break;
      hidden = tower.Finish(layer, hidden, CausalAttention(tower, layer, x, k, v, rotation));
    }
    return {at::stack(keys, 1).flatten(1).cpu(), at::stack(latents, 1).flatten(1).cpu()};
  }

  // q_lg = (w_l / H) * sum of the normalised q_lh over the heads of group g, all layers side by
  // side: [E].
  at::Tensor FoldQuery(const TorchBackbone& tower, std::span<const TokenId> tokens) const {
    const BackboneConfig& c = plan_.backbone;
    const at::Tensor ids =
        at::tensor(at::ArrayRef<TokenId>(tokens.data(), tokens.size())).unsqueeze(0);
    std::vector<at::Tensor> folded;
    at::Tensor hidden = tower.Embed(ids.to(device_));
    const Rotation rotation = tower.RotationAt(0, hidden.size(1));
    for (int64_t l = 0; l <= plan_.last_routing_layer(); ++l) {
      const TorchLayer& layer = tower.layer(l);
      const at::Tensor x = tower.Norm(hidden, layer.attention_norm);
      if (const int64_t r = plan_.memory.RoutingIndex(l); r >= 0) {
        const auto memory = static_cast<size_t>(plan_.memory.MemoryIndex(l));
        const at::Tensor& trained = adapter_[memory].router_query;
        const at::Tensor last = x.select(1, x.size(1) - 1);
        const at::Tensor q = at::linear(last, trained.defined() ? trained : layer.query)
                                 .to(at::kFloat)
                                 .view({c.num_kv_heads, -1, c.head_dim});
        const double weight = plan_.adapter.routing_weights[static_cast<size_t>(r)];
        folded.push_back(NormaliseLast(q).sum(1).flatten() *
                         (weight / static_cast<double>(c.num_heads)));
      }
      if (l == plan_.last_routing_layer()) break;
      const at::Tensor k = tower.Key(layer, x, rotation);
      const at::Tensor v = tower.Value(layer, x);
      hidden = tower.Finish(layer, hidden, CausalAttention(tower, layer, x, k, v, rotation));
    }
    return at::cat(folded);
  }

  const MemoryPlan& plan_;
  const WeightMode mode_;
  const at::ScalarType dtype_;
  const at::Device device_;
  BackboneSet<TorchBackbone> backbones_;
  std::vector<AdapterTensors> adapter_;  // one a memory layer
};

Result<at::Device> ParseDevice(const std::string& name) {
  try {
    const at::Device device(name);
    if (device.is_cpu()) return device;
    if (!device.is_cuda())
      return InvalidArgument("device \"" + name + "\"; there are cpu and cuda");
    if (!at::hasCUDA()) {
      return InvalidArgument(
          "device \"" + name +
          "\": no CUDA device, or a libtorch without CUDA (build the cuda preset "
          "with the CUDA wheel of torch)");
    }
    return device;
  } catch (const c10::Error&) {
    return InvalidArgument("device \"" + name + "\"; expected cpu, cuda or cuda:N");
  }
}

}  // namespace

Result<std::unique_ptr<Transformer>> LoadTorchForward(const WeightSource& source,
                                                      const MemoryPlan& plan, WeightMode mode,
                                                      const std::string& device_name,
                                                      int num_threads) {
  MSA_CHECK(mode == WeightMode::kF32 || mode == WeightMode::kBF16);
  MSA_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(device_name));
  if (num_threads > 0) at::set_num_threads(num_threads);
  // On Hopper libtorch 2.13 prefers cuDNN's attention, which builds a plan for every new shape;
  // hardly two batches of passages have the same. Flash attention takes any shape at once.
  if (device.is_cuda()) at::globalContext().setSDPUseCuDNN(false);
  return WithTorch([&]() -> Result<std::unique_ptr<Transformer>> {
    auto forward = std::make_unique<TorchForward>(source, plan, mode, device);
    MSA_RETURN_IF_ERROR(forward->Load());
    return std::unique_ptr<Transformer>(std::move(forward));
  });
}

}  // namespace msa
