// The transformer on libtorch; see torch_backbone.h.
#pragma once

#include <memory>
#include <string>

#include "msa/model/transformer.h"
#include "msa/model/weight_source.h"

namespace msa {

// `mode` is kF32 or kBF16. kInvalidArgument: a device this machine or this libtorch has not.
// `source` and `plan` outlive the transformer: what an adapter adds is loaded when first used.
// `num_threads` 0: all cores.
Result<std::unique_ptr<Transformer>> LoadTorchForward(const WeightSource& source,
                                                      const MemoryPlan& plan, WeightMode mode,
                                                      const std::string& device, int num_threads);

}  // namespace msa
