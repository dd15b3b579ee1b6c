// Every tensor that an adapter's file may hold, under its name there: reading and writing go
// through this one list (docs/adapter-format.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "msa/model/adapter.h"

namespace msa {

// Calls f(name, rows, columns, values) for each tensor; `values` is the adapter's own vector, empty
// where it has none. Rows of low-rank updates are their rank: 0 where that is not known yet.
// REQUIRES: `layers` has its size; `tower`, `reader` and `text_reader` have theirs or are empty.
template <class AdapterRef, class F>
void ForEachAdapterTensor(const BackboneConfig& backbone, const MemoryConfig& memory,
                          AdapterRef& adapter, F f) {
  const int64_t hidden = backbone.hidden_size;
  const int64_t kv = backbone.kv_size();
  const int64_t max_chunk = adapter.max_chunk_tokens;
  for (size_t i = 0; i < adapter.layers.size(); ++i) {
    auto& layer = adapter.layers[i];
    const int64_t index = memory.memory_layers[i];
    const std::string prefix = "layers." + std::to_string(index) + ".";
    f(prefix + "pool.score", backbone.num_kv_heads, hidden, layer.pool_score);
    f(prefix + "pool.position", max_chunk, backbone.num_kv_heads, layer.pool_position);
    f(prefix + "residual.key", kv, hidden, layer.residual_key);
    f(prefix + "residual.value", kv, hidden, layer.residual_value);
    f(prefix + "residual.key_position", max_chunk, kv, layer.key_position);
    f(prefix + "residual.value_position", max_chunk, kv, layer.value_position);
    if (!std::ranges::binary_search(memory.routing_layers, index)) continue;
    f(prefix + "router.key", kv, hidden, layer.router_key);
    f(prefix + "router.query", backbone.query_size(), hidden, layer.router_query);
  }
  const auto updates = [&](const char* part, auto& layers) {
    for (size_t l = 0; l < layers.size(); ++l) {
      for (size_t m = 0; m < kAdaptedWeights.size(); ++m) {
        const auto [outputs, inputs] = WeightShape(backbone, kAdaptedWeights[m]);
        const std::string prefix = std::string(part) + "." + std::to_string(l) + "." +
                                   std::string(kAdaptedWeightNames[m]) + ".";
        f(prefix + "a", layers[l][m].rank, inputs, layers[l][m].a);
        f(prefix + "b", layers[l][m].rank, outputs, layers[l][m].b);
      }
    }
  };
  updates("tower", adapter.tower);
  updates("reader", adapter.reader);
  updates("text_reader", adapter.text_reader);
}

}  // namespace msa
