#include "msa/model/torch_session.h"

#include <algorithm>
#include <limits>

namespace msa {
namespace {

// Bounds the mask and the activations of a long prompt; products are as fast as with more.
constexpr int64_t kPrefillTokens = 512;

// Keys and values of one layer, [1, G, capacity, D]; what was appended comes first.
class LayerCache {
 public:
  void Append(const at::Tensor& k, const at::Tensor& v) {
    const int64_t count = k.size(2);
    if (!k_.defined() || size_ + count > k_.size(2)) Grow(k, v, size_ + count);
    k_.narrow(2, size_, count).copy_(k);
    v_.narrow(2, size_, count).copy_(v);
    size_ += count;
  }
  at::Tensor keys() const { return k_.narrow(2, 0, size_); }
  at::Tensor values() const { return v_.narrow(2, 0, size_); }
  int64_t size() const { return size_; }

 private:
  void Grow(const at::Tensor& k, const at::Tensor& v, int64_t needed) {
    const int64_t capacity = std::max({needed, 2 * size_, int64_t{64}});
    const auto resized = [&](const at::Tensor& old, const at::Tensor& like) {
      at::Tensor grown = at::empty({1, like.size(1), capacity, like.size(3)}, like.options());
      if (old.defined()) grown.narrow(2, 0, size_).copy_(old.narrow(2, 0, size_));
      return grown;
    };
    k_ = resized(k_, k);
    v_ = resized(v_, v);
  }

  at::Tensor k_;
  at::Tensor v_;
  int64_t size_ = 0;
};

class TorchSession : public Session {
 public:
  TorchSession(const TorchBackbone& backbone, const MemoryPlan& plan,
               const std::optional<AttachedMemory>& memory)
      : backbone_(backbone),
        plan_(plan),
        caches_(static_cast<size_t>(plan.backbone.num_layers)),
        latent_bias_(caches_.size()) {
    if (!memory || memory->num_latents == 0) return;
    query_offset_ = plan.memory.query_offset;
    Attach(*memory);
  }

  Result<std::span<const float>> Feed(std::span<const TokenId> tokens) override {
    MSA_RETURN_IF_ERROR(CheckFeed(plan_.backbone, tokens, num_tokens_));
    return WithTorch([&]() -> Result<std::span<const float>> {
      at::Tensor hidden;
      ForEachBlock(tokens, [&](std::span<const TokenId> block) { hidden = Forward(block); });
      logits_ = backbone_.Logits(hidden.select(1, hidden.size(1) - 1)).cpu().contiguous();
      return std::span<const float>(logits_.data_ptr<float>(),
                                    static_cast<size_t>(plan_.backbone.vocab_size));
    });
  }

  Result<std::vector<float>> FeedAll(std::span<const TokenId> tokens) override {
    MSA_RETURN_IF_ERROR(CheckFeed(plan_.backbone, tokens, num_tokens_));
    return WithTorch([&]() -> Result<std::vector<float>> {
      std::vector<float> all;
      ForEachBlock(tokens, [&](std::span<const TokenId> block) {
        const at::Tensor logits = backbone_.Logits(Forward(block)).cpu().contiguous();
        all.insert(all.end(), logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel());
      });
      return all;
    });
  }

  int64_t num_tokens() const override { return num_tokens_; }

 private:
  void Attach(const AttachedMemory& memory) {
    const BackboneConfig& c = plan_.backbone;
    const int64_t n = memory.num_latents;
    const auto layers = static_cast<int64_t>(plan_.memory.memory_layers.size());
    const at::Tensor latents =
        at::tensor(memory.latents).view({n, layers, 2, c.num_kv_heads, c.head_dim});
    for (int64_t i = 0; i < layers; ++i) {
      const auto layer = static_cast<size_t>(plan_.memory.memory_layers[static_cast<size_t>(i)]);
      const at::Tensor kv = latents.select(1, i)
                                .permute({1, 2, 0, 3})
                                .unsqueeze(1)
                                .to(backbone_.device(), backbone_.dtype());
      caches_[layer].Append(kv[0], kv[1]);
      const double alpha = plan_.adapter.layers[static_cast<size_t>(i)].alpha;
      if (alpha == 0) continue;
      const at::Tensor scores = at::tensor(memory.routing_score);
      latent_bias_[layer] = (alpha * (scores - scores.max())).to(backbone_.device());
    }
  }

  template <class F>
  void ForEachBlock(std::span<const TokenId> tokens, F f) {
    for (size_t begin = 0; begin < tokens.size(); begin += kPrefillTokens) {
      f(tokens.subspan(begin, std::min<size_t>(kPrefillTokens, tokens.size() - begin)));
    }
  }

  // What is added to the logits of `count` new tokens over a layer's cache: its latents' bias, and
  // -inf for later tokens. Nothing for one token without bias.
  std::optional<at::Tensor> Mask(size_t layer, int64_t count) const {
    const at::Tensor& bias = latent_bias_[layer];
    if (count == 1 && !bias.defined()) return std::nullopt;
    const int64_t size = caches_[layer].size();
    at::Tensor mask = at::full({count, size}, -std::numeric_limits<double>::infinity(),
                               at::TensorOptions(at::kFloat).device(backbone_.device()));
    mask = mask.triu(size - count + 1);
    if (bias.defined()) mask.narrow(1, 0, bias.size(0)).add_(bias);
    return mask.to(backbone_.dtype());
  }

  // Appends one block to the caches; returns hidden [1, T, hidden] before the output norm.
  at::Tensor Forward(std::span<const TokenId> tokens) {
    const auto count = static_cast<int64_t>(tokens.size());
    const at::Tensor ids =
        at::tensor(at::ArrayRef<TokenId>(tokens.data(), tokens.size())).unsqueeze(0);
    at::Tensor hidden = backbone_.Embed(ids.to(backbone_.device()));
    const Rotation rotation = backbone_.RotationAt(query_offset_ + num_tokens_, count);
    for (size_t l = 0; l < caches_.size(); ++l) {
      const TorchLayer& layer = backbone_.layer(static_cast<int64_t>(l));
      const at::Tensor x = backbone_.Norm(hidden, layer.attention_norm);
      caches_[l].Append(backbone_.Key(layer, x, rotation), backbone_.Value(layer, x));
      const at::Tensor attention = at::scaled_dot_product_attention(
          backbone_.Query(layer, x, rotation), caches_[l].keys(), caches_[l].values(),
          Mask(l, count), /*dropout_p=*/0, /*is_causal=*/false, /*scale=*/std::nullopt,
          /*enable_gqa=*/true);
      hidden = backbone_.Finish(layer, hidden, attention);
    }
    num_tokens_ += count;
    return hidden;
  }

  const TorchBackbone& backbone_;
  const MemoryPlan& plan_;
  std::vector<LayerCache> caches_;       // one a layer
  std::vector<at::Tensor> latent_bias_;  // one a layer; defined where alpha > 0
  int64_t query_offset_ = 0;
  int64_t num_tokens_ = 0;
  at::Tensor logits_;
};

}  // namespace

Result<std::unique_ptr<Session>> StartTorchSession(const TorchBackbone& backbone,
                                                   const MemoryPlan& plan,
                                                   std::optional<AttachedMemory> memory) {
  return WithTorch([&]() -> Result<std::unique_ptr<Session>> {
    return std::unique_ptr<Session>(new TorchSession(backbone, plan, memory));
  });
}

}  // namespace msa
