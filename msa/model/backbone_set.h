// The backbones of one model: the plain one, the tower (with it documents are encoded and questions
// routed), the reader (where latents are attached) and the reader of texts (where the prompt holds
// texts beside them). Each is loaded when first used, and shares with the others what no low-rank
// update changes; without updates all are the plain one.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "msa/model/adapted_weights.h"
#include "msa/model/transformer.h"

namespace msa {

// `Backbone` is CpuBackbone or TorchBackbone; its Parts are
//   std::shared_ptr<const Embeddings> embeddings;            // embedding, output norm and head
//   std::vector<std::shared_ptr<const Layer>> layers;
// where either type has resident_bytes(). Threads may share a set; one loads, others wait.
template <class Backbone>
class BackboneSet {
 public:
  using Parts = typename Backbone::Parts;
  // Loads the parts that are null; as many layers as `parts` has.
  using Loader =
      std::function<Result<std::unique_ptr<Backbone>>(const AdaptedWeights& source, Parts parts)>;

  // `source` and `plan` outlive the set, and the set what it hands out.
  BackboneSet(const WeightSource& source, const MemoryPlan& plan, Loader load)
      : load_(std::move(load)),
        entries_{Entry{AdaptedWeights(source, no_updates_), plan.backbone.num_layers},
                 Entry{AdaptedWeights(source, plan.adapter.tower), plan.last_memory_layer() + 1},
                 Entry{AdaptedWeights(source, plan.adapter.reader), plan.backbone.num_layers},
                 Entry{AdaptedWeights(source, plan.adapter.text_reader), plan.backbone.num_layers}},
        tower_(plan.adapter.tower.empty() ? 0 : 1),
        reader_(plan.adapter.reader.empty() ? 0 : 2),
        text_reader_(plan.adapter.text_reader.empty() ? reader_ : 3) {}

  Result<const Backbone*> Tower() { return Get(tower_); }
  // What reads with `memory` attached (null: nothing is).
  Result<const Backbone*> ReaderOf(const AttachedMemory* memory) {
    if (memory == nullptr || !memory->needs_reader()) return Get(0);
    return Get(memory->beside_text ? text_reader_ : reader_);
  }

  // Of what is loaded, shared parts once.
  int64_t resident_bytes() const {
    const std::lock_guard lock(mutex_);
    std::set<const void*> counted;
    int64_t bytes = 0;
    const auto count = [&](const auto& part) {
      if (counted.insert(part.get()).second) bytes += part->resident_bytes();
    };
    for (const Entry& entry : entries_) {
      if (entry.backbone == nullptr) continue;
      count(entry.backbone->parts().embeddings);
      for (const auto& layer : entry.backbone->parts().layers) count(layer);
    }
    return bytes;
  }

 private:
  struct Entry {
    AdaptedWeights weights;
    int64_t num_layers;
    std::unique_ptr<Backbone> backbone = nullptr;
  };

  Result<const Backbone*> Get(size_t index) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[index];
    if (entry.backbone == nullptr) {
      MSA_ASSIGN_OR_RETURN(entry.backbone, load_(entry.weights, LoadedParts(entry)));
    }
    return entry.backbone.get();
  }

  // What the loaded backbones have of this one.
  Parts LoadedParts(const Entry& entry) const {
    Parts parts;
    parts.layers.resize(static_cast<size_t>(entry.num_layers));
    for (const Entry& other : entries_) {
      if (other.backbone == nullptr) continue;
      parts.embeddings = other.backbone->parts().embeddings;
      const int64_t both = std::min(entry.num_layers, other.num_layers);
      for (int64_t l = 0; l < both; ++l) {
        if (entry.weights.IsUpdated(l) || other.weights.IsUpdated(l)) continue;
        parts.layers[static_cast<size_t>(l)] =
            other.backbone->parts().layers[static_cast<size_t>(l)];
      }
    }
    return parts;
  }

  const Loader load_;
  const std::vector<LowRankLayer> no_updates_;
  mutable std::mutex mutex_;
  std::array<Entry, 4> entries_;  // plain, tower, reader, reader of texts; guarded by mutex_
  // Which of them serves as each: the next best where the adapter has no updates.
  const size_t tower_, reader_, text_reader_;
};

}  // namespace msa
