// Scoring many texts at once on libtorch: passages side by side, each with its own latents before
// it. The mathematics of torch_session.h in batches, for measurements.
#pragma once

#include <span>
#include <vector>

#include "msa/model/torch_backbone.h"
#include "msa/model/transformer.h"

namespace msa {

// Fills nats[i] for each `i` of `chosen`, as Transformer::Score says: all of these rows are read by
// `backbone`. Rows are packed by length; at most some thousand rows of logits exist at a
// time. Throws what libtorch throws.
void ScoreWithTorch(const TorchBackbone& backbone, const MemoryPlan& plan,
                    std::span<const ScoreRow> rows, std::span<const int64_t> chosen,
                    std::span<std::vector<float>> nats);

}  // namespace msa
