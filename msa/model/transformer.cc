#include "msa/model/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace msa {
namespace {

// -ln softmax(logits)[token]
float Nats(std::span<const float> logits, TokenId token) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  float sum = 0;  // of f32 terms up to 1: exact enough to 1e-6 of the logarithm for any vocabulary
  for (const float logit : logits) sum += std::exp(logit - largest);
  return std::log(sum) + largest - logits[static_cast<size_t>(token)];
}

}  // namespace

Result<std::vector<std::vector<float>>> Transformer::Score(std::span<const ScoreRow> rows) {
  std::vector<std::vector<float>> all;
  for (const ScoreRow& row : rows) {
    std::optional<AttachedMemory> memory;
    if (row.memory != nullptr) memory = *row.memory;
    MSA_ASSIGN_OR_RETURN(const auto session, StartSession(std::move(memory)));
    // What stands before needs no logits.
    const auto skipped = static_cast<size_t>(row.first - 1);
    if (skipped > 0) MSA_RETURN_IF_ERROR(session->Feed(row.tokens.first(skipped)).status());
    const auto fed = row.tokens.subspan(skipped, row.tokens.size() - 1 - skipped);
    MSA_ASSIGN_OR_RETURN(const std::vector<float> logits, session->FeedAll(fed));
    const size_t vocab = logits.size() / fed.size();
    std::vector<float>& nats = all.emplace_back();
    for (size_t i = 0; i < fed.size(); ++i) {
      nats.push_back(
          Nats(std::span(logits).subspan(i * vocab, vocab), row.tokens[skipped + 1 + i]));
    }
  }
  return all;
}

std::vector<Pack> PackPassages(std::span<const std::span<const TokenId>> passages,
                               int64_t max_tokens) {
  std::vector<int64_t> order(passages.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int64_t i) {
    return static_cast<int64_t>(passages[static_cast<size_t>(i)].size());
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return length(a) < length(b); });
  std::vector<Pack> packs;
  int64_t tokens = 0;
  for (const int64_t i : order) {
    if (packs.empty() || tokens + length(i) > max_tokens) {
      packs.emplace_back();
      tokens = 0;
    }
    packs.back().push_back(i);
    tokens += length(i);
  }
  return packs;
}

Status CheckFeed(const BackboneConfig& config, std::span<const TokenId> tokens,
                 int64_t first_position) {
  if (tokens.empty()) return InvalidArgument("no tokens to feed");
  const int64_t end = first_position + static_cast<int64_t>(tokens.size());
  if (end > config.context_tokens) {
    return InvalidArgument("tokens up to position " + std::to_string(end) +
                           " exceed the model's context of " +
                           std::to_string(config.context_tokens));
  }
  for (const TokenId token : tokens) {
    if (token < 0 || token >= config.vocab_size) {
      return InvalidArgument("token " + std::to_string(token) + " is not in the vocabulary of " +
                             std::to_string(config.vocab_size));
    }
  }
  return OkStatus();
}

}  // namespace msa
