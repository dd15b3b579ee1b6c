// What training adds to a backbone: one safetensors file, its configuration as JSON in the
// metadata. Format: docs/adapter-format.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/base/hash.h"
#include "msa/base/safetensors.h"
#include "msa/base/status.h"
#include "msa/model/backbone.h"
#include "msa/model/memory_model.h"
#include "msa/model/weight_source.h"

namespace msa {

// One memory layer's part. Empty vectors: untrained.
struct AdapterLayer {
  std::vector<float> pool_score;      // [G, hidden]: s(x_i) of each head; empty: 0
  std::vector<float> pool_position;   // [max P, G]: b_i of each head; empty: 0
  std::vector<float> residual_key;    // [G * D, hidden]: U_k; empty: 0
  std::vector<float> residual_value;  // [G * D, hidden]: U_v
  std::vector<float> key_position;    // [max P, G * D]: g_i of the key; empty as residual_key
  std::vector<float> value_position;  // [max P, G * D]: g_i of the value
  std::vector<float> router_key;      // [G * D, hidden]: Wr; empty: the layer's key projection
  std::vector<float> router_query;    // [H * D, hidden]: Wq'; empty: the layer's query projection
  double alpha = 0;                   // of differentiable addressing
};

// A low-rank update of one matrix: W' = W + b^T a.
struct LowRank {
  int64_t rank = 0;      // 0: none
  std::vector<float> a;  // [rank, inputs]
  std::vector<float> b;  // [rank, outputs]
};

// The matrices of a layer that may have updates, in the order of LowRankLayer, and their names.
inline constexpr std::array<Weight, 7> kAdaptedWeights = {
    Weight::kQuery, Weight::kKey, Weight::kValue, Weight::kAttentionOutput,
    Weight::kGate,  Weight::kUp,  Weight::kDown};
inline constexpr std::array<std::string_view, 7> kAdaptedWeightNames = {
    "query", "key", "value", "output", "gate", "up", "down"};
using LowRankLayer = std::array<LowRank, 7>;

// How a question is routed: prefix + question + suffix, special tokens of the two recognised.
struct QuestionTemplate {
  std::string prefix;
  std::string suffix;
};

struct Adapter {
  std::vector<AdapterLayer> layers;          // one a memory layer, in their order
  std::vector<LowRankLayer> tower;           // one a layer of the backbone; empty: no updates
  std::vector<LowRankLayer> reader;          // likewise
  std::vector<LowRankLayer> text_reader;     // likewise; empty: the reader reads texts, too
  std::vector<double> routing_weights;       // w_l, one a routing layer; their sum is 1
  double latent_weight = 0;                  // of rank fusion
  double key_whitening = 0;                  // exponent of KeyWhitening, 0 to 1
  int64_t chunk_tokens = 64;                 // P of new banks
  int64_t max_chunk_tokens = 64;             // the largest P
  std::optional<QuestionTemplate> question;  // nothing: the model's chat template
  std::string training;                      // JSON text; empty: nothing is said
  Digest digest = {};                        // of the file; zero without one

  // The adapter of a model without one: uniform routing weights, all else 0 or the layers' own.
  static Adapter Untrained(const MemoryConfig& memory);

  // Reads the file and fills in the lists of layers that `memory` leaves empty, and P where it is
  // 0. kFailedPrecondition: made for another backbone or configuration (the message says which
  // value differs); kDataLoss: a tensor is missing, misshapen, not finite or names no layer.
  static Result<Adapter> Load(const std::string& path, const BackboneConfig& backbone,
                              MemoryConfig* memory);

  // Whether the file says that it is one; Load may refuse it all the same.
  static bool IsAdapter(const SafetensorsFile& file);

  // P of new banks, from the file's header alone.
  static Result<int64_t> ReadChunkTokens(const std::string& path);

  // Writes the file (to a temporary name, synced, then renamed), its matrices as `dtype`: kF32,
  // kF16, kBF16, or kI8 with a scale a row (but for pool.position, whose rows are short: f32).
  // Without `digest`, which Load takes from the file. kInvalidArgument: `training` is no JSON.
  Status Save(const std::string& path, const BackboneConfig& backbone, const MemoryConfig& memory,
              DType dtype) const;
};

// Fills in what `memory` leaves open (memory layers: the upper half; routing layers: the last
// memory layer; P: 64) and checks everything against the backbone: kInvalidArgument.
Status ResolveMemoryConfig(const BackboneConfig& backbone, MemoryConfig* memory);

}  // namespace msa
