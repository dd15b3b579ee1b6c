#include "msa/model/cpu_session.h"

#include <algorithm>

#include "msa/model/cpu_pass.h"

namespace msa {
namespace {

// Bounds the activations of a long prompt.
constexpr int64_t kPrefillTokens = 512;

class CpuSession : public Session {
 public:
  CpuSession(const CpuBackbone& backbone, const MemoryPlan& plan, ThreadPool& pool,
             const std::optional<AttachedMemory>& memory)
      : backbone_(backbone),
        plan_(plan),
        pool_(pool),
        pass_(backbone, pool),
        caches_(static_cast<size_t>(plan.backbone.num_layers), KvCache(backbone.attention_shape())),
        latent_bias_(caches_.size()),
        rope_(kPrefillTokens, plan.backbone.rope_frequencies) {
    if (!memory || memory->num_latents == 0) return;
    query_offset_ = plan.memory.query_offset;
    Attach(*memory);
  }

  Result<std::span<const float>> Feed(std::span<const TokenId> tokens) override {
    MSA_RETURN_IF_ERROR(CheckFeed(plan_.backbone, tokens, num_tokens_));
    ForEachBlock(tokens, [&](std::span<const TokenId> block) { Forward(block); });
    const MatrixView<float> hidden = pass_.hidden();
    const MatrixView<float> logits = logits_.Resize(1, plan_.backbone.vocab_size);
    backbone_.Logits(RowRange(hidden, hidden.rows - 1, hidden.rows), logits, &pool_);
    return std::span<const float>(logits.row(0));
  }

  Result<std::vector<float>> FeedAll(std::span<const TokenId> tokens) override {
    MSA_RETURN_IF_ERROR(CheckFeed(plan_.backbone, tokens, num_tokens_));
    const int64_t vocab = plan_.backbone.vocab_size;
    std::vector<float> all(tokens.size() * static_cast<size_t>(vocab));
    int64_t row = 0;
    ForEachBlock(tokens, [&](std::span<const TokenId> block) {
      Forward(block);
      const MatrixView<float> hidden = pass_.hidden();
      backbone_.Logits(hidden, {all.data() + row * vocab, hidden.rows, vocab}, &pool_);
      row += hidden.rows;
    });
    return all;
  }

  int64_t num_tokens() const override { return num_tokens_; }

 private:
  void Attach(const AttachedMemory& memory) {
    const int64_t row = plan_.latent_size();
    const int64_t kv = plan_.backbone.kv_size();
    const float best = *std::max_element(memory.routing_score.begin(), memory.routing_score.end());
    for (size_t i = 0; i < plan_.memory.memory_layers.size(); ++i) {
      const auto layer = static_cast<size_t>(plan_.memory.memory_layers[i]);
      const float* k = memory.latents.data() + static_cast<int64_t>(i) * 2 * kv;
      caches_[layer].Append({k, memory.num_latents, kv, row},
                            {k + kv, memory.num_latents, kv, row});
      const auto alpha = static_cast<float>(plan_.adapter.layers[i].alpha);
      if (alpha == 0) continue;
      for (const float score : memory.routing_score) {
        latent_bias_[layer].push_back(alpha * (score - best));
      }
    }
  }

  template <class F>
  void ForEachBlock(std::span<const TokenId> tokens, F f) {
    for (size_t begin = 0; begin < tokens.size(); begin += kPrefillTokens) {
      f(tokens.subspan(begin, std::min<size_t>(kPrefillTokens, tokens.size() - begin)));
    }
  }

  // Appends one block to the caches.
  void Forward(std::span<const TokenId> tokens) {
    const auto count = static_cast<int64_t>(tokens.size());
    const int64_t first = query_offset_ + num_tokens_;
    if (first + count > rope_.count()) {
      rope_ = RopeTable(2 * (first + count), plan_.backbone.rope_frequencies);
    }
    const std::vector<int32_t> positions = ConsecutivePositions(first, count);
    const int64_t queries = plan_.backbone.query_size();
    const int64_t kv = plan_.backbone.kv_size();
    pass_.Run(tokens, plan_.backbone.num_layers - 1,
              [&](int64_t l, MatrixView<float> qkv, MatrixView<float> attention) {
                const auto layer = static_cast<size_t>(l);
                backbone_.Rotate(backbone_.layer(l), qkv, rope_, positions);
                caches_[layer].Append(ColumnRange(qkv, queries, queries + kv),
                                      ColumnRange(qkv, queries + kv, queries + 2 * kv));
                AttendCache(ColumnRange(qkv, 0, queries), caches_[layer], latent_bias_[layer],
                            attention, &pool_);
                return true;
              });
    num_tokens_ += count;
  }

  const CpuBackbone& backbone_;
  const MemoryPlan& plan_;
  ThreadPool& pool_;
  CpuPass pass_;
  std::vector<KvCache> caches_;                  // one a layer, latents before local tokens
  std::vector<std::vector<float>> latent_bias_;  // one a layer; empty where alpha is 0
  RopeTable rope_;
  int64_t query_offset_ = 0;
  int64_t num_tokens_ = 0;
  RowBuffer logits_;
};

}  // namespace

std::unique_ptr<Session> StartCpuSession(const CpuBackbone& backbone, const MemoryPlan& plan,
                                         ThreadPool& pool, std::optional<AttachedMemory> memory) {
  return std::make_unique<CpuSession>(backbone, plan, pool, memory);
}

}  // namespace msa
