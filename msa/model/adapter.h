// What training adds to a backbone: one safetensors file, its configuration as JSON in the
// metadata. Format: docs/adapter-format.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/hash.h"
#include "msa/base/status.h"
#include "msa/model/backbone.h"
#include "msa/model/memory_model.h"

namespace msa {

// One memory layer's part. Empty vectors: untrained.
struct AdapterLayer {
  std::vector<float> pool_score;     // [G, hidden]: s(x_i) of each head; empty: 0
  std::vector<float> pool_position;  // [P, G]: b_i of each head; empty: 0
  std::vector<float> router_key;     // [G * D, hidden]: Wr; empty: the layer's key projection
  std::vector<float> router_query;   // [H * D, hidden]: Wq'; empty: the layer's query projection
  double alpha = 0;                  // of differentiable addressing
};

struct Adapter {
  std::vector<AdapterLayer> layers;     // one a memory layer, in their order
  std::vector<double> routing_weights;  // w_l, one a routing layer; their sum is 1
  double latent_weight = 0;             // of rank fusion
  Digest digest = {};                   // of the file; zero without one

  // The adapter of a model without one: uniform routing weights, all else 0 or the layers' own.
  static Adapter Untrained(const MemoryConfig& memory);

  // Reads the file and fills in the lists of layers that `memory` leaves empty.
  // kFailedPrecondition: made for another backbone or configuration (the message says which value
  // differs); kUnimplemented: parts that this version does not apply, never ignored in silence;
  // kDataLoss: a tensor is missing, misshapen or names no layer.
  static Result<Adapter> Load(const std::string& path, const BackboneConfig& backbone,
                              MemoryConfig* memory);
};

// Fills in the lists of `memory` where empty (memory layers: the upper half; routing layers: the
// last memory layer) and checks everything against the backbone: kInvalidArgument.
Status ResolveMemoryConfig(const BackboneConfig& backbone, MemoryConfig* memory);

}  // namespace msa
