// The transformer on our own CPU kernels, weights in 8 or 4 bits. Same mathematics as
// torch_forward.h, to what integer products round.
#pragma once

#include <memory>

#include "msa/model/transformer.h"
#include "msa/model/weight_source.h"

namespace msa {

// `mode` is kI8 or kI4. `source` and `plan` outlive the transformer: what an adapter adds is loaded
// when first used. `num_threads` 0: all cores.
// kInvalidArgument: a matrix whose inputs are no multiple of 32.
Result<std::unique_ptr<Transformer>> LoadCpuForward(const WeightSource& source,
                                                    const MemoryPlan& plan, WeightMode mode,
                                                    int num_threads);

}  // namespace msa
