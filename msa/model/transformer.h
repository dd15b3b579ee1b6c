// One way to run the mathematics of design.md on one machine: libtorch (torch_forward.h) or our own
// integer kernels (cpu_forward.h). MemoryModel chooses, and speaks in text and files; below this
// line there are tokens only.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "msa/base/status.h"
#include "msa/model/adapter.h"
#include "msa/model/backbone.h"
#include "msa/model/memory_model.h"

namespace msa {

// What turns a backbone into a memory model. Immutable; outlives the transformer.
struct MemoryPlan {
  BackboneConfig backbone;
  MemoryConfig memory;  // lists filled in
  Adapter adapter;

  // Nothing is computed past this layer's projections for a document.
  int64_t last_memory_layer() const { return memory.memory_layers.back(); }
  int64_t last_routing_layer() const { return memory.routing_layers.back(); }
  // E.
  int64_t key_dim() const {
    return static_cast<int64_t>(memory.routing_layers.size()) * backbone.kv_size();
  }
  // Floats of one latent: all memory layers' k and v.
  int64_t latent_size() const {
    return static_cast<int64_t>(memory.memory_layers.size()) * 2 * backbone.kv_size();
  }
};

class Transformer {
 public:
  virtual ~Transformer() = default;

  // As MemoryModel::batch_tokens; here: for a CPU.
  virtual int64_t batch_tokens() const { return 8192; }
  // As MemoryModel::Encode; tokens and lengths have been checked. `out` has its sizes and counts,
  // values are 0.
  virtual Status Encode(std::span<const std::span<const TokenId>> passages, EncodedBatch* out) = 0;
  // The folded query of the last token; tokens have been checked.
  virtual Result<std::vector<float>> RouteQuery(std::span<const TokenId> tokens) = 0;
  virtual Result<std::unique_ptr<Session>> StartSession(std::optional<AttachedMemory> memory) = 0;
  // As MemoryModel::Score; rows have been checked. Here: one session a row.
  virtual Result<std::vector<std::vector<float>>> Score(std::span<const ScoreRow> rows);

  virtual int64_t resident_bytes() const = 0;
  virtual std::string compute_description() const = 0;
};

// Passages of one forward pass, by their index in the caller's list.
using Pack = std::vector<int64_t>;

// Packs of at most `max_tokens` tokens (a longer passage is alone), in ascending length, so that
// the passages of a pack are about equally long.
std::vector<Pack> PackPassages(std::span<const std::span<const TokenId>> passages,
                               int64_t max_tokens);

// Checks what a Feed appends: tokens within the vocabulary, positions within the context.
Status CheckFeed(const BackboneConfig& config, std::span<const TokenId> tokens,
                 int64_t first_position);

}  // namespace msa
