#include "msa/model/transformer.h"

#include <algorithm>
#include <numeric>

namespace msa {
namespace {

int64_t IndexOf(const std::vector<int64_t>& ascending, int64_t value) {
  const auto at = std::lower_bound(ascending.begin(), ascending.end(), value);
  return at != ascending.end() && *at == value ? at - ascending.begin() : -1;
}

}  // namespace

int64_t MemoryPlan::MemoryIndex(int64_t layer) const {
  return IndexOf(memory.memory_layers, layer);
}

int64_t MemoryPlan::RoutingIndex(int64_t layer) const {
  return IndexOf(memory.routing_layers, layer);
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
