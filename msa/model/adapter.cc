#include "msa/model/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "msa/base/file.h"
#include "msa/base/safetensors.h"
#include "msa/kernels/pool.h"
#include "msa/model/adapter_tensors.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "msa-adapter";
constexpr const char* kVersion = "1";

bool IsStored(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kI8;
}

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

// The parts of a file as they are read; remembers which tensors were used, so that none is ignored.
class AdapterReader {
 public:
  AdapterReader(const SafetensorsFile& file, Json config)
      : file_(file), config_(std::move(config)) {}

  Status CheckBackbone(const BackboneConfig& backbone) const {
    const std::pair<const char*, int64_t> expected[] = {
        {"hidden_size", backbone.hidden_size},   {"intermediate_size", backbone.intermediate_size},
        {"num_layers", backbone.num_layers},     {"num_heads", backbone.num_heads},
        {"num_kv_heads", backbone.num_kv_heads}, {"head_dim", backbone.head_dim}};
    for (const auto& [key, value] : expected) {
      const Json found = config_.value("backbone", Json::object()).value(key, Json());
      if (found == value) continue;
      return FailedPrecondition(file_.path() + ": made for a backbone with " + key + " " +
                                found.dump() + ", this one has " + std::to_string(value));
    }
    return OkStatus();
  }

  // The adapter's list of layers; it decides where the configuration leaves the choice open.
  Status ReadLayers(const char* key, std::vector<int64_t>* layers) const {
    const Json found = config_.value(key, Json());
    if (!found.is_array()) return Wrong(key, "a list of layers");
    for (const Json& item : found) {
      if (!item.is_number_integer()) return Wrong(key, "a list of layers");
    }
    if (layers->empty()) *layers = found.get<std::vector<int64_t>>();
    if (found == *layers) return OkStatus();
    return FailedPrecondition(file_.path() + ": made for " + key + " " + found.dump() +
                              ", the configuration says " + Json(*layers).dump());
  }

  // `count` numbers from 0 to `limit`; all `fallback` if the key is absent.
  Result<std::vector<double>> ReadNumbers(const char* key, size_t count, double fallback,
                                          double limit) const {
    if (!config_.contains(key)) return std::vector<double>(count, fallback);
    const Json& found = config_[key];
    const std::string expected = std::to_string(count) + " numbers from 0 to " + Json(limit).dump();
    if (!found.is_array() || found.size() != count) return Wrong(key, expected);
    std::vector<double> out;
    for (const Json& item : found) {
      if (!item.is_number()) return Wrong(key, expected);
      out.push_back(item.get<double>());
      if (!(out.back() >= 0) || out.back() > limit) return Wrong(key, expected);
    }
    return out;
  }

  // Expands a matrix to f32; it stays empty if the file has none. `rows` 0: any number.
  Status ReadMatrix(const std::string& name, int64_t rows, int64_t columns,
                    std::vector<float>* out) {
    const SafeTensor* tensor = file_.Find(name);
    if (tensor == nullptr) return OkStatus();
    used_.insert(name);
    const bool has_rows = tensor->shape.size() == 2 && tensor->shape[0] > 0 &&
                          (rows == 0 || tensor->shape[0] == rows);
    if (!IsStored(tensor->dtype) || !has_rows || tensor->shape[1] != columns) {
      return Misshapen(*tensor, "f32, f16, bf16 or i8 [" +
                                    (rows == 0 ? "rank" : std::to_string(rows)) + "," +
                                    std::to_string(columns) + "]");
    }
    rows = tensor->shape[0];
    std::vector<float> scales;
    if (tensor->dtype == DType::kI8) MSA_RETURN_IF_ERROR(ReadScales(name, rows, &scales));
    out->resize(static_cast<size_t>(rows * columns));
    LoadRows(tensor->bytes.data(), scales.data(), tensor->dtype, columns,
             {out->data(), rows, columns});
    if (!AllFinite(*out)) {
      return DataLoss(file_.path() + ": tensor " + name + " holds NaN or infinity");
    }
    return OkStatus();
  }

  // Every tensor has been read.
  Status CheckAllUsed() const {
    for (const SafeTensor& tensor : file_.tensors()) {
      if (used_.contains(tensor.name)) continue;
      return DataLoss(file_.path() + ": tensor " + tensor.name +
                      " belongs to no memory or routing layer or matrix of this adapter");
    }
    return OkStatus();
  }

  Status ReadChunkTokens(int64_t* chunk_tokens, int64_t* max_chunk_tokens) const {
    MSA_ASSIGN_OR_RETURN(*chunk_tokens, ReadPositive("chunk_tokens", kDefaultChunkTokens));
    MSA_ASSIGN_OR_RETURN(*max_chunk_tokens, ReadPositive("max_chunk_tokens", *chunk_tokens));
    if (*max_chunk_tokens >= *chunk_tokens) return OkStatus();
    return Wrong("max_chunk_tokens", "at least chunk_tokens, " + std::to_string(*chunk_tokens));
  }

  Result<double> ReadLatentWeight() const {
    if (!config_.contains("latent_weight")) return 0.0;
    if (!config_["latent_weight"].is_number() || !(config_["latent_weight"] >= 0)) {
      return Wrong("latent_weight", "a number of at least 0");
    }
    return config_["latent_weight"].get<double>();
  }

  Result<double> ReadKeyWhitening() const {
    if (!config_.contains("key_whitening")) return 0.0;
    const Json& found = config_["key_whitening"];
    if (!found.is_number() || !(found >= 0 && found <= 1)) {
      return Wrong("key_whitening", "a number from 0 to 1");
    }
    return found.get<double>();
  }

  Result<std::optional<QuestionTemplate>> ReadQuestion() const {
    if (!config_.contains("question")) return std::optional<QuestionTemplate>();
    const Json& found = config_["question"];
    const auto is_text = [&](const char* key) {
      return found.is_object() && found.contains(key) && found[key].is_string();
    };
    if (!is_text("prefix") || !is_text("suffix")) {
      return Wrong("question", "an object with the strings prefix and suffix");
    }
    return std::optional(QuestionTemplate{found["prefix"], found["suffix"]});
  }

  std::string ReadTraining() const {
    return config_.contains("training") ? config_["training"].dump() : "";
  }

  const std::string& path() const { return file_.path(); }

 private:
  Status Wrong(const char* key, const std::string& expected) const {
    return DataLoss(file_.path() + ": \"" + key + "\" is " + config_.value(key, Json()).dump() +
                    ", expected " + expected);
  }
  Status Misshapen(const SafeTensor& tensor, const std::string& expected) const {
    return DataLoss(file_.path() + ": tensor " + tensor.name + " is " +
                    std::string(DTypeName(tensor.dtype)) + " " + Json(tensor.shape).dump() +
                    ", expected " + expected);
  }

  Result<int64_t> ReadPositive(const char* key, int64_t fallback) const {
    if (!config_.contains(key)) return fallback;
    if (!config_[key].is_number_integer() || config_[key] < 1) {
      return Wrong(key, "a positive integer");
    }
    return config_[key].get<int64_t>();
  }

  // Of the rows of an i8 tensor.
  Status ReadScales(const std::string& name, int64_t rows, std::vector<float>* out) {
    const SafeTensor* tensor = file_.Find(name + ".scale");
    if (tensor == nullptr) return DataLoss(file_.path() + ": " + name + ".scale is missing");
    used_.insert(tensor->name);
    if (tensor->dtype != DType::kF32 || tensor->shape != std::vector<int64_t>{rows}) {
      return Misshapen(*tensor, "f32 [" + std::to_string(rows) + "]");
    }
    out->resize(static_cast<size_t>(rows));
    std::memcpy(out->data(), tensor->bytes.data(), tensor->bytes.size());
    return OkStatus();
  }

  const SafetensorsFile& file_;
  const Json config_;
  std::set<std::string> used_;
};

Result<Json> ReadConfig(const SafetensorsFile& file) {
  const auto value = [&](const char* key) -> std::string {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? "" : found->second;
  };
  if (value("format") != kFormat) {
    return InvalidArgument(file.path() + ": format \"" + value("format") + "\", expected \"" +
                           kFormat + "\"");
  }
  if (value("format_version") != kVersion) {
    return Unimplemented(file.path() + ": format version \"" + value("format_version") +
                         "\"; this version reads " + kVersion);
  }
  Json config = Json::parse(value("config"), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return DataLoss(file.path() + ": \"config\" is no JSON object");
  return config;
}

// The ranks of updates whose tensors have been read; nothing is left of a part without any.
Status ResolveRanks(const AdapterReader& reader, const BackboneConfig& backbone, const char* part,
                    std::vector<LowRankLayer>* layers) {
  bool any = false;
  for (size_t l = 0; l < layers->size(); ++l) {
    for (size_t m = 0; m < kAdaptedWeights.size(); ++m) {
      LowRank& update = (*layers)[l][m];
      const auto [outputs, inputs] = WeightShape(backbone, kAdaptedWeights[m]);
      update.rank = std::ssize(update.a) / inputs;
      any = any || update.rank > 0;
      if (update.rank == std::ssize(update.b) / outputs) continue;
      return DataLoss(reader.path() + ": " + part + "." + std::to_string(l) + "." +
                      std::string(kAdaptedWeightNames[m]) + " has a of rank " +
                      std::to_string(update.rank) + " and b of rank " +
                      std::to_string(std::ssize(update.b) / outputs));
    }
  }
  if (!any) layers->clear();
  return OkStatus();
}

Status CheckResiduals(const AdapterReader& reader, const MemoryConfig& memory,
                      const std::vector<AdapterLayer>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const AdapterLayer& layer = layers[i];
    for (const auto& [name, has_matrix, has_position] :
         {std::tuple("key", !layer.residual_key.empty(), !layer.key_position.empty()),
          std::tuple("value", !layer.residual_value.empty(), !layer.value_position.empty())}) {
      if (has_matrix == has_position) continue;
      const std::string residual =
          "layers." + std::to_string(memory.memory_layers[i]) + ".residual." + name;
      return DataLoss(reader.path() + ": " + residual + " and " + residual +
                      "_position belong together; one is missing");
    }
  }
  return OkStatus();
}

}  // namespace

Adapter Adapter::Untrained(const MemoryConfig& memory) {
  Adapter adapter;
  adapter.chunk_tokens = memory.chunk_tokens;
  adapter.max_chunk_tokens = memory.chunk_tokens;
  adapter.layers.resize(memory.memory_layers.size());
  adapter.routing_weights.assign(memory.routing_layers.size(),
                                 1.0 / static_cast<double>(memory.routing_layers.size()));
  return adapter;
}

Result<Adapter> Adapter::Load(const std::string& path, const BackboneConfig& backbone,
                              MemoryConfig* memory) {
  MSA_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  MSA_ASSIGN_OR_RETURN(Json config, ReadConfig(*file));
  AdapterReader reader(*file, std::move(config));
  MSA_RETURN_IF_ERROR(reader.CheckBackbone(backbone));
  MSA_RETURN_IF_ERROR(reader.ReadLayers("memory_layers", &memory->memory_layers));
  MSA_RETURN_IF_ERROR(reader.ReadLayers("routing_layers", &memory->routing_layers));
  Adapter adapter;
  MSA_RETURN_IF_ERROR(reader.ReadChunkTokens(&adapter.chunk_tokens, &adapter.max_chunk_tokens));
  if (memory->chunk_tokens == 0) memory->chunk_tokens = adapter.chunk_tokens;
  if (memory->chunk_tokens > adapter.max_chunk_tokens) {
    return FailedPrecondition(
        path + ": made for chunks of at most " + std::to_string(adapter.max_chunk_tokens) +
        " tokens, the configuration says " + std::to_string(memory->chunk_tokens));
  }
  MSA_RETURN_IF_ERROR(ResolveMemoryConfig(backbone, memory));

  const size_t layers = memory->memory_layers.size();
  const size_t routing_layers = memory->routing_layers.size();
  MSA_ASSIGN_OR_RETURN(adapter.latent_weight, reader.ReadLatentWeight());
  MSA_ASSIGN_OR_RETURN(adapter.key_whitening, reader.ReadKeyWhitening());
  MSA_ASSIGN_OR_RETURN(const auto alpha, reader.ReadNumbers("alpha", layers, 0, 1e6));
  MSA_ASSIGN_OR_RETURN(adapter.routing_weights,
                       reader.ReadNumbers("routing_weights", routing_layers,
                                          1.0 / static_cast<double>(routing_layers), 1));
  double sum = 0;
  for (const double weight : adapter.routing_weights) sum += weight;
  if (std::abs(sum - 1) > 1e-3) {
    return DataLoss(path + ": \"routing_weights\" sum to " + std::to_string(sum) + ", expected 1");
  }
  MSA_ASSIGN_OR_RETURN(adapter.question, reader.ReadQuestion());
  adapter.training = reader.ReadTraining();

  adapter.layers.resize(layers);
  for (size_t i = 0; i < layers; ++i) adapter.layers[i].alpha = alpha[i];
  for (auto* part : {&adapter.tower, &adapter.reader, &adapter.text_reader}) {
    part->resize(static_cast<size_t>(backbone.num_layers));
  }
  Status status;
  ForEachAdapterTensor(
      backbone, *memory, adapter,
      [&](const std::string& name, int64_t rows, int64_t columns, std::vector<float>& values) {
        if (status.ok()) status = reader.ReadMatrix(name, rows, columns, &values);
      });
  MSA_RETURN_IF_ERROR(status);
  MSA_RETURN_IF_ERROR(reader.CheckAllUsed());
  MSA_RETURN_IF_ERROR(CheckResiduals(reader, *memory, adapter.layers));
  MSA_RETURN_IF_ERROR(ResolveRanks(reader, backbone, "tower", &adapter.tower));
  MSA_RETURN_IF_ERROR(ResolveRanks(reader, backbone, "reader", &adapter.reader));
  MSA_RETURN_IF_ERROR(ResolveRanks(reader, backbone, "text_reader", &adapter.text_reader));
  MSA_ASSIGN_OR_RETURN(const MappedFile content, MappedFile::Open(path));
  adapter.digest = Blake2b(content.bytes());
  return adapter;
}

bool Adapter::IsAdapter(const SafetensorsFile& file) {
  const auto format = file.metadata().find("format");
  return format != file.metadata().end() && format->second == kFormat;
}

Result<int64_t> Adapter::ReadChunkTokens(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  MSA_ASSIGN_OR_RETURN(Json config, ReadConfig(*file));
  int64_t chunk_tokens = 0;
  int64_t max_chunk_tokens = 0;
  MSA_RETURN_IF_ERROR(
      AdapterReader(*file, std::move(config)).ReadChunkTokens(&chunk_tokens, &max_chunk_tokens));
  return chunk_tokens;
}

}  // namespace msa
