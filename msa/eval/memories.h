// Models and latents for measurements that need no bank.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "msa/engine/engine.h"
#include "msa/eval/data.h"

namespace msa {

// The adapter that the options mean where there is no bank (EngineOptions::adapter_path); empty:
// none.
std::string EvalAdapterPath(const EngineOptions& options);

// The model of the options, or the default one, with that adapter and the options' own shapes.
Result<std::unique_ptr<MemoryModel>> LoadEvalModel(EngineOptions options);

// The latents of each passage, as `msa ask` attaches them: through the type that the bank stores
// (memory().latent_dtype). Routing scores are equal: each memory is one passage's.
Result<std::vector<AttachedMemory>> EncodeMemories(
    MemoryModel& model, std::span<const std::span<const TokenId>> passages);

// Several passages' memories as one.
AttachedMemory Join(std::span<const AttachedMemory> memories);

// Calls f(begin, end) for stretches of passages of about `kBatchTokens` tokens; stops at an error
// or, with kCancelled, when interrupted.
inline constexpr int64_t kBatchTokens = 65536;
Status ForEachBatch(std::span<const EvalPassage> passages, const std::atomic<bool>* cancelled,
                    FunctionRef<Status(size_t begin, size_t end)> f);

}  // namespace msa
