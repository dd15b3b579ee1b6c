#include "msa/eval/memories.h"

#include "msa/kernels/pool.h"

namespace msa {

std::string EvalAdapterPath(const EngineOptions& options) {
  if (options.adapter_path == "none") return "";
  if (!options.adapter_path.empty()) return options.adapter_path;
  if (!options.model_path.empty()) return DefaultAdapterPath(options.model_path);
  const auto model = DefaultModelPath();
  return model.ok() ? DefaultAdapterPath(*model) : "";
}

Result<std::unique_ptr<MemoryModel>> LoadEvalModel(EngineOptions options) {
  if (options.model_path.empty()) {
    MSA_ASSIGN_OR_RETURN(options.model_path, DefaultModelPath());
  }
  return MemoryModel::Load(options.model_path, EvalAdapterPath(options), options.memory,
                           options.load);
}

Result<std::vector<AttachedMemory>> EncodeMemories(
    MemoryModel& model, std::span<const std::span<const TokenId>> passages) {
  MSA_ASSIGN_OR_RETURN(EncodedBatch encoded, model.Encode(passages));
  const int64_t head_dim = model.backbone().head_dim;
  const int64_t width = std::ssize(model.memory().memory_layers) * 2 * model.backbone().kv_size();
  const int64_t rows = std::ssize(encoded.latents) / width;
  const DType dtype = model.memory().latent_dtype;
  if (dtype != DType::kF32 && rows > 0) {
    const MatrixView<float> latents(encoded.latents.data(), rows, width);
    std::vector<std::byte> stored(static_cast<size_t>(rows * width * DTypeSize(dtype)));
    std::vector<float> scales(dtype == DType::kI8 ? static_cast<size_t>(rows * width / head_dim)
                                                  : 0);
    StoreRows(latents, dtype, head_dim, stored.data(), scales.data());
    LoadRows(stored.data(), scales.data(), dtype, head_dim, latents);
  }
  std::vector<AttachedMemory> memories;
  auto next = encoded.latents.begin();
  for (const int64_t chunks : encoded.chunks) {
    const auto end = next + chunks * width;
    memories.push_back({chunks, std::vector<float>(next, end),
                        std::vector<float>(static_cast<size_t>(chunks), 0.0f)});
    next = end;
  }
  return memories;
}

AttachedMemory Join(std::span<const AttachedMemory> memories) {
  AttachedMemory joined;
  for (const AttachedMemory& memory : memories) {
    joined.num_latents += memory.num_latents;
    joined.latents.insert(joined.latents.end(), memory.latents.begin(), memory.latents.end());
    joined.routing_score.insert(joined.routing_score.end(), memory.routing_score.begin(),
                                memory.routing_score.end());
  }
  return joined;
}

Status ForEachBatch(std::span<const EvalPassage> passages, const std::atomic<bool>* cancelled,
                    FunctionRef<Status(size_t begin, size_t end)> f) {
  for (size_t begin = 0; begin < passages.size();) {
    if (cancelled != nullptr && cancelled->load()) return Cancelled("stopped while measuring");
    size_t end = begin;
    for (int64_t tokens = 0; end < passages.size() && tokens < kBatchTokens; ++end) {
      tokens += std::ssize(passages[end].tokens);
    }
    MSA_RETURN_IF_ERROR(f(begin, end));
    begin = end;
  }
  return OkStatus();
}

}  // namespace msa
