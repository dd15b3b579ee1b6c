// Adapter::Save.

#include <nlohmann/json.hpp>

#include "msa/base/file.h"
#include "msa/base/safetensors.h"
#include "msa/kernels/pool.h"
#include "msa/model/adapter_tensors.h"

namespace msa {
namespace {

using Json = nlohmann::json;

// Names, shapes and stored bytes of a file's tensors, in the order they were added.
class TensorList {
 public:
  void Add(std::string name, DType dtype, std::vector<int64_t> shape, std::string bytes) {
    bytes_.push_back(std::move(bytes));
    tensors_.push_back({std::move(name), dtype, std::move(shape), {}});
  }

  std::string File(const std::map<std::string, std::string, std::less<>>& metadata) const {
    std::string file = SafetensorsHeader(tensors_, metadata);
    for (const std::string& bytes : bytes_) file += bytes;
    return file;
  }

 private:
  std::vector<SafeTensor> tensors_;
  std::vector<std::string> bytes_;
};

void AddMatrix(const std::string& name, MatrixView<const float> values, DType dtype,
               TensorList* list) {
  std::string bytes(static_cast<size_t>(values.rows * values.cols * DTypeSize(dtype)), '\0');
  std::vector<float> scales(static_cast<size_t>(values.rows));
  StoreRows(values, dtype, values.cols, bytes.data(), scales.data());
  list->Add(name, dtype, {values.rows, values.cols}, std::move(bytes));
  if (dtype != DType::kI8) return;
  list->Add(name + ".scale", DType::kF32, {values.rows},
            std::string(AsChars(std::as_bytes(std::span(scales)))));
}

}  // namespace

Status Adapter::Save(const std::string& path, const BackboneConfig& backbone,
                     const MemoryConfig& memory, DType dtype) const {
  Json alpha = Json::array();
  for (const AdapterLayer& layer : layers) alpha.push_back(layer.alpha);
  Json config = {{"backbone",
                  {{"hidden_size", backbone.hidden_size},
                   {"intermediate_size", backbone.intermediate_size},
                   {"num_layers", backbone.num_layers},
                   {"num_heads", backbone.num_heads},
                   {"num_kv_heads", backbone.num_kv_heads},
                   {"head_dim", backbone.head_dim}}},
                 {"memory_layers", memory.memory_layers},
                 {"routing_layers", memory.routing_layers},
                 {"chunk_tokens", chunk_tokens},
                 {"max_chunk_tokens", max_chunk_tokens},
                 {"routing_weights", routing_weights},
                 {"alpha", alpha},
                 {"latent_weight", latent_weight},
                 {"key_whitening", key_whitening}};
  if (question) config["question"] = {{"prefix", question->prefix}, {"suffix", question->suffix}};
  if (!training.empty()) {
    config["training"] = Json::parse(training, nullptr, /*allow_exceptions=*/false);
    if (config["training"].is_discarded()) {
      return InvalidArgument(path + ": what says how it was trained is no JSON");
    }
  }

  TensorList list;
  ForEachAdapterTensor(
      backbone, memory, *this,
      [&](const std::string& name, int64_t rows, int64_t columns, const auto& values) {
        if (values.empty()) return;
        MSA_CHECK(std::ssize(values) == rows * columns);
        // A row of pool.position is one value a head: too short to be worth a scale.
        const bool short_rows = dtype == DType::kI8 && name.ends_with(".pool.position");
        AddMatrix(name, {values.data(), rows, columns}, short_rows ? DType::kF32 : dtype, &list);
      });
  const std::string file =
      list.File({{"format", "msa-adapter"}, {"format_version", "1"}, {"config", config.dump()}});
  return WriteFileAtomically(PosixFileSystem(), path, file);
}

}  // namespace msa
