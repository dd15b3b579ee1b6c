// A conversation on libtorch: growing caches of keys and values, in memory layers with the attached
// latents before the local tokens.
#pragma once

#include <memory>
#include <optional>

#include "msa/model/torch_backbone.h"
#include "msa/model/transformer.h"

namespace msa {

// Both outlive the session.
Result<std::unique_ptr<Session>> StartTorchSession(const TorchBackbone& backbone,
                                                   const MemoryPlan& plan,
                                                   std::optional<AttachedMemory> memory);

}  // namespace msa
