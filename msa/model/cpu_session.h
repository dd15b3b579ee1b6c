// A conversation on the CPU kernels; see torch_session.h.
#pragma once

#include <memory>
#include <optional>

#include "msa/model/cpu_backbone.h"
#include "msa/model/transformer.h"

namespace msa {

// All outlive the session; the pool serves one session or encoder at a time.
std::unique_ptr<Session> StartCpuSession(const CpuBackbone& backbone, const MemoryPlan& plan,
                                         ThreadPool& pool, std::optional<AttachedMemory> memory);

}  // namespace msa
