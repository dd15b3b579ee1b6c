#include "msa/model/torch_score.h"

#include <algorithm>
#include <limits>

namespace msa {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Tokens of one forward pass, and rows of logits at a time: 100 MB of a vocabulary of 49152 on a
// CPU, 800 MB on a GPU.
constexpr int64_t kCpuPackTokens = 2048;
constexpr int64_t kGpuPackTokens = 32768;
constexpr int64_t kCpuLogitRows = 512;
constexpr int64_t kGpuLogitRows = 4096;

class PackScorer {
 public:
  // `rows` of one pack: all with memory or all without.
  PackScorer(const TorchBackbone& backbone, const MemoryPlan& plan,
             const std::vector<const ScoreRow*>& rows)
      : backbone_(backbone), plan_(plan), rows_(rows) {
    for (const ScoreRow* row : rows) {
      columns_ = std::max<int64_t>(columns_, std::ssize(row->tokens));
      if (row->memory != nullptr) latents_ = std::max(latents_, row->memory->num_latents);
    }
  }

  // The nats of all scored tokens, row after row.
  at::Tensor Score() const {
    const at::Tensor hidden = Forward().flatten(0, 1);
    std::vector<int64_t> places, targets;
    for (int64_t r = 0; r < std::ssize(rows_); ++r) {
      const ScoreRow& row = *rows_[static_cast<size_t>(r)];
      for (int64_t t = row.first; t < std::ssize(row.tokens); ++t) {
        places.push_back(r * columns_ + t - 1);
        targets.push_back(row.tokens[static_cast<size_t>(t)]);
      }
    }
    const at::Tensor place = at::tensor(places).to(backbone_.device());
    const at::Tensor target = at::tensor(targets).to(backbone_.device());
    const int64_t block = backbone_.device().is_cpu() ? kCpuLogitRows : kGpuLogitRows;
    std::vector<at::Tensor> nats;
    for (int64_t begin = 0; begin < place.size(0); begin += block) {
      const int64_t count = std::min(block, place.size(0) - begin);
      const at::Tensor logits =
          backbone_.Logits(hidden.index_select(0, place.narrow(0, begin, count)));
      const at::Tensor chosen = logits.gather(1, target.narrow(0, begin, count).unsqueeze(1));
      nats.push_back(logits.logsumexp(1) - chosen.squeeze(1));
    }
    return at::cat(nats).cpu().contiguous();
  }

 private:
  // Hidden states [B, T, hidden] before the output norm.
  at::Tensor Forward() const {
    const auto count = std::ssize(rows_);
    at::Tensor tokens = at::zeros({count, columns_}, at::kInt);
    for (int64_t r = 0; r < count; ++r) {
      const auto row = rows_[static_cast<size_t>(r)]->tokens;
      std::copy(row.begin(), row.end(), tokens.data_ptr<int32_t>() + r * columns_);
    }
    const at::Tensor kv = Latents();
    const at::Tensor causal = Mask({}, 0);
    const Rotation rotation =
        backbone_.RotationAt(latents_ > 0 ? plan_.memory.query_offset : 0, columns_);
    at::Tensor hidden = backbone_.Embed(tokens.to(backbone_.device()));
    at::Tensor with_latents;  // the mask for `alpha`, mostly the same in every layer
    double alpha = -1;
    for (int64_t l = 0; l < plan_.backbone.num_layers; ++l) {
      const TorchLayer& layer = backbone_.layer(l);
      const at::Tensor x = backbone_.Norm(hidden, layer.attention_norm);
      at::Tensor k = backbone_.Key(layer, x, rotation);
      at::Tensor v = backbone_.Value(layer, x);
      at::Tensor mask = causal;
      if (const int64_t m = plan_.memory.MemoryIndex(l); m >= 0 && latents_ > 0) {
        k = at::cat({kv.select(2, m).select(2, 0).transpose(1, 2), k}, 2);
        v = at::cat({kv.select(2, m).select(2, 1).transpose(1, 2), v}, 2);
        if (const double own = plan_.adapter.layers[static_cast<size_t>(m)].alpha; own != alpha) {
          with_latents = Mask(kv, own);
          alpha = own;
        }
        mask = with_latents;
      }
      const at::Tensor attention = at::scaled_dot_product_attention(
          backbone_.Query(layer, x, rotation), k, v, mask, /*dropout_p=*/0, /*is_causal=*/false,
          /*scale=*/std::nullopt, /*enable_gqa=*/true);
      hidden = backbone_.Finish(layer, hidden, attention);
    }
    return hidden;
  }

  // [B, N, layers, 2, G, D], rows with fewer latents padded with zeros that the mask hides.
  at::Tensor Latents() const {
    if (latents_ == 0) return {};
    const BackboneConfig& c = plan_.backbone;
    const int64_t width = plan_.latent_size();
    at::Tensor all = at::zeros({std::ssize(rows_), latents_, width}, at::kFloat);
    for (int64_t r = 0; r < std::ssize(rows_); ++r) {
      const std::vector<float>& latents = rows_[static_cast<size_t>(r)]->memory->latents;
      std::copy(latents.begin(), latents.end(), all.data_ptr<float>() + r * latents_ * width);
    }
    return all.to(backbone_.device(), backbone_.dtype())
        .view({std::ssize(rows_), latents_, -1, 2, c.num_kv_heads, c.head_dim});
  }

  // What is added to the logits of attention: -inf for later tokens and for padding among the
  // latents, alpha (s - s_max) for a latent. [B or 1, 1, T, N + T]
  at::Tensor Mask(const at::Tensor& kv, double alpha) const {
    at::Tensor local = at::full({columns_, columns_}, kMinusInfinity, at::kFloat).triu(1);
    if (!kv.defined()) return local.to(backbone_.device(), backbone_.dtype());
    const auto count = std::ssize(rows_);
    at::Tensor latent = at::full({count, latents_}, kMinusInfinity, at::kFloat);
    for (int64_t r = 0; r < count; ++r) {
      const AttachedMemory& memory = *rows_[static_cast<size_t>(r)]->memory;
      if (memory.num_latents == 0) continue;
      const at::Tensor scores = at::tensor(memory.routing_score);
      latent.select(0, r).narrow(0, 0, memory.num_latents).copy_(alpha * (scores - scores.max()));
    }
    const at::Tensor device_local = local.to(backbone_.device());
    const at::Tensor device_latent = latent.to(backbone_.device());
    return at::cat({device_latent.view({count, 1, 1, latents_}).expand({-1, 1, columns_, -1}),
                    device_local.expand({count, 1, -1, -1})},
                   3)
        .to(backbone_.dtype());
  }

  const TorchBackbone& backbone_;
  const MemoryPlan& plan_;
  const std::vector<const ScoreRow*>& rows_;
  int64_t columns_ = 0;  // T, of the longest row
  int64_t latents_ = 0;  // N, of the row with most
};

}  // namespace

void ScoreWithTorch(const TorchBackbone& backbone, const MemoryPlan& plan,
                    std::span<const ScoreRow> rows, std::span<const int64_t> chosen,
                    std::span<std::vector<float>> nats) {
  std::vector<std::span<const TokenId>> texts;
  for (const int64_t i : chosen) texts.push_back(rows[static_cast<size_t>(i)].tokens);
  const int64_t pack_tokens = backbone.device().is_cpu() ? kCpuPackTokens : kGpuPackTokens;
  for (const Pack& pack : PackPassages(texts, pack_tokens)) {
    std::vector<const ScoreRow*> packed;
    for (const int64_t i : pack) {
      packed.push_back(&rows[static_cast<size_t>(chosen[static_cast<size_t>(i)])]);
    }
    const at::Tensor scores = PackScorer(backbone, plan, packed).Score();
    const float* next = scores.data_ptr<float>();
    for (const int64_t i : pack) {
      const auto row = static_cast<size_t>(chosen[static_cast<size_t>(i)]);
      const auto count = std::ssize(rows[row].tokens) - rows[row].first;
      nats[row].assign(next, next + count);
      next += count;
    }
  }
}

}  // namespace msa
