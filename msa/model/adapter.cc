#include "msa/model/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "msa/base/file.h"
#include "msa/base/safetensors.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "msa-adapter";
constexpr const char* kVersion = "1";

// The parts of a file as they are read; remembers which tensors were used, so that none is ignored.
class AdapterReader {
 public:
  AdapterReader(const SafetensorsFile& file, Json config)
      : file_(file), config_(std::move(config)) {}

  Status CheckBackbone(const BackboneConfig& backbone) const {
    const std::pair<const char*, int64_t> expected[] = {{"hidden_size", backbone.hidden_size},
                                                        {"num_layers", backbone.num_layers},
                                                        {"num_heads", backbone.num_heads},
                                                        {"num_kv_heads", backbone.num_kv_heads},
                                                        {"head_dim", backbone.head_dim}};
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

  // Copies a matrix; stays empty if the file has none.
  Status ReadMatrix(const std::string& name, int64_t rows, int64_t columns,
                    std::vector<float>* out) {
    const SafeTensor* tensor = file_.Find(name);
    if (tensor == nullptr) return OkStatus();
    used_.insert(name);
    if (tensor->dtype != DType::kF32 || tensor->shape != std::vector<int64_t>{rows, columns}) {
      return DataLoss(file_.path() + ": tensor " + name + " is " +
                      std::string(DTypeName(tensor->dtype)) + " " + Json(tensor->shape).dump() +
                      ", expected f32 [" + std::to_string(rows) + ", " + std::to_string(columns) +
                      "]");
    }
    out->resize(static_cast<size_t>(rows * columns));
    std::memcpy(out->data(), tensor->bytes.data(), tensor->bytes.size());
    const bool finite =
        std::all_of(out->begin(), out->end(), [](float x) { return std::isfinite(x); });
    if (!finite) return DataLoss(file_.path() + ": tensor " + name + " holds NaN or infinity");
    return OkStatus();
  }

  // Every tensor has been read, or is one that a later version applies.
  Status CheckAllUsed() const {
    for (const SafeTensor& tensor : file_.tensors()) {
      if (used_.contains(tensor.name)) continue;
      const bool reserved = tensor.name.starts_with("tower.") ||
                            tensor.name.starts_with("reader.") ||
                            tensor.name.find(".residual.") != std::string::npos;
      if (reserved) {
        return Unimplemented(file_.path() + ": tensor " + tensor.name +
                             ": low-rank updates and residuals are not applied by this version; it "
                             "applies pool.score, pool.position, router.key and router.query");
      }
      return DataLoss(file_.path() + ": tensor " + tensor.name +
                      " belongs to no memory or routing layer of this adapter");
    }
    return OkStatus();
  }

  Result<int64_t> ReadChunkTokens() const {
    if (!config_.contains("chunk_tokens")) return 0;
    if (!config_["chunk_tokens"].is_number_integer()) return Wrong("chunk_tokens", "an integer");
    return config_["chunk_tokens"].get<int64_t>();
  }
  Result<double> ReadLatentWeight() const {
    if (!config_.contains("latent_weight")) return 0.0;
    if (!config_["latent_weight"].is_number() || !(config_["latent_weight"] >= 0)) {
      return Wrong("latent_weight", "a number of at least 0");
    }
    return config_["latent_weight"].get<double>();
  }

 private:
  Status Wrong(const char* key, const std::string& expected) const {
    return DataLoss(file_.path() + ": \"" + key + "\" is " + config_.value(key, Json()).dump() +
                    ", expected " + expected);
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

Status ReadLayer(AdapterReader& reader, const BackboneConfig& backbone, const MemoryConfig& memory,
                 int64_t index, bool routes, AdapterLayer* layer) {
  const std::string prefix = "layers." + std::to_string(index) + ".";
  const int64_t heads = backbone.num_kv_heads;
  const int64_t hidden = backbone.hidden_size;
  MSA_RETURN_IF_ERROR(reader.ReadMatrix(prefix + "pool.score", heads, hidden, &layer->pool_score));
  MSA_RETURN_IF_ERROR(reader.ReadMatrix(prefix + "pool.position", memory.chunk_tokens, heads,
                                        &layer->pool_position));
  if (!routes) return OkStatus();
  MSA_RETURN_IF_ERROR(
      reader.ReadMatrix(prefix + "router.key", backbone.kv_size(), hidden, &layer->router_key));
  return reader.ReadMatrix(prefix + "router.query", backbone.query_size(), hidden,
                           &layer->router_query);
}

}  // namespace

Adapter Adapter::Untrained(const MemoryConfig& memory) {
  Adapter adapter;
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
  MSA_ASSIGN_OR_RETURN(const int64_t chunk_tokens, reader.ReadChunkTokens());
  if (chunk_tokens != 0 && chunk_tokens != memory->chunk_tokens) {
    return FailedPrecondition(path + ": made for chunks of " + std::to_string(chunk_tokens) +
                              " tokens, the configuration says " +
                              std::to_string(memory->chunk_tokens));
  }
  MSA_RETURN_IF_ERROR(ResolveMemoryConfig(backbone, memory));

  Adapter adapter;
  const size_t layers = memory->memory_layers.size();
  const size_t routing_layers = memory->routing_layers.size();
  MSA_ASSIGN_OR_RETURN(adapter.latent_weight, reader.ReadLatentWeight());
  MSA_ASSIGN_OR_RETURN(const auto alpha, reader.ReadNumbers("alpha", layers, 0, 1e6));
  MSA_ASSIGN_OR_RETURN(adapter.routing_weights,
                       reader.ReadNumbers("routing_weights", routing_layers,
                                          1.0 / static_cast<double>(routing_layers), 1));
  double sum = 0;
  for (const double weight : adapter.routing_weights) sum += weight;
  if (std::abs(sum - 1) > 1e-3) {
    return DataLoss(path + ": \"routing_weights\" sum to " + std::to_string(sum) + ", expected 1");
  }
  adapter.layers.resize(layers);
  for (size_t i = 0; i < layers; ++i) {
    const int64_t layer = memory->memory_layers[i];
    const bool routes =
        std::binary_search(memory->routing_layers.begin(), memory->routing_layers.end(), layer);
    adapter.layers[i].alpha = alpha[i];
    MSA_RETURN_IF_ERROR(ReadLayer(reader, backbone, *memory, layer, routes, &adapter.layers[i]));
  }
  MSA_RETURN_IF_ERROR(reader.CheckAllUsed());
  MSA_ASSIGN_OR_RETURN(const MappedFile content, MappedFile::Open(path));
  adapter.digest = Blake2b(content.bytes());
  return adapter;
}

}  // namespace msa
