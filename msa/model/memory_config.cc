// MemoryConfig: its JSON, its defaults, its limits.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "msa/kernels/rotate.h"
#include "msa/model/adapter.h"
#include "msa/model/memory_model.h"

namespace msa {
namespace {

using Json = nlohmann::json;

Status Wrong(const std::string& what, int64_t value, const std::string& expected) {
  return InvalidArgument("memory configuration: " + what + " is " + std::to_string(value) +
                         ", expected " + expected);
}

Status CheckLayers(const std::string& what, const std::vector<int64_t>& layers,
                   int64_t num_layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= num_layers) {
      return Wrong(what, layers[i], "0 to " + std::to_string(num_layers - 1));
    }
    if (i > 0 && layers[i] <= layers[i - 1]) {
      return Wrong(what + " after " + std::to_string(layers[i - 1]), layers[i], "ascending layers");
    }
  }
  return OkStatus();
}

// Each reads one key if it is there; the message names key and value.
Status ReadInt(const Json& json, const char* key, int64_t* out) {
  if (!json.contains(key)) return OkStatus();
  if (!json[key].is_number_integer()) {
    return InvalidArgument(std::string("memory configuration: \"") + key + "\" is " +
                           json[key].dump() + ", expected an integer");
  }
  *out = json[key].get<int64_t>();
  return OkStatus();
}

Status ReadInts(const Json& json, const char* key, std::vector<int64_t>* out) {
  if (!json.contains(key)) return OkStatus();
  const Json& list = json[key];
  if (!list.is_array() || !std::all_of(list.begin(), list.end(),
                                       [](const Json& item) { return item.is_number_integer(); })) {
    return InvalidArgument(std::string("memory configuration: \"") + key + "\" is " + list.dump() +
                           ", expected a list of integers");
  }
  *out = list.get<std::vector<int64_t>>();
  return OkStatus();
}

Status ReadDType(const Json& json, const char* key, DType* out) {
  if (!json.contains(key)) return OkStatus();
  const auto dtype =
      json[key].is_string() ? ParseDType(json[key].get<std::string>()) : std::nullopt;
  if (!dtype) {
    return InvalidArgument(std::string("memory configuration: \"") + key + "\" is " +
                           json[key].dump() + ", expected f32, bf16, f16 or i8");
  }
  *out = *dtype;
  return OkStatus();
}

bool IsStorable(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 ||
         dtype == DType::kI8;
}

int64_t IndexOf(const std::vector<int64_t>& ascending, int64_t value) {
  const auto at = std::lower_bound(ascending.begin(), ascending.end(), value);
  return at != ascending.end() && *at == value ? at - ascending.begin() : -1;
}

}  // namespace

int64_t MemoryConfig::MemoryIndex(int64_t layer) const { return IndexOf(memory_layers, layer); }

int64_t MemoryConfig::RoutingIndex(int64_t layer) const { return IndexOf(routing_layers, layer); }

std::string MemoryConfig::ToJson() const {
  return Json{{"passage_tokens", passage_tokens},
              {"chunk_tokens", chunk_tokens},
              {"memory_layers", memory_layers},
              {"routing_layers", routing_layers},
              {"key_dtype", std::string(DTypeName(key_dtype))},
              // Follows from key_dtype; here so that it is recorded, and part of the fingerprint.
              {"key_rotation", StoresKeysRotated(key_dtype) ? "hadamard" : "none"},
              {"latent_dtype", std::string(DTypeName(latent_dtype))},
              {"top_k", top_k},
              {"query_offset", query_offset}}
      .dump();
}

Result<MemoryConfig> MemoryConfig::FromJson(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgument("memory configuration: not a JSON object");
  MemoryConfig config;
  MSA_RETURN_IF_ERROR(ReadInt(json, "passage_tokens", &config.passage_tokens));
  MSA_RETURN_IF_ERROR(ReadInt(json, "chunk_tokens", &config.chunk_tokens));
  MSA_RETURN_IF_ERROR(ReadInts(json, "memory_layers", &config.memory_layers));
  MSA_RETURN_IF_ERROR(ReadInts(json, "routing_layers", &config.routing_layers));
  MSA_RETURN_IF_ERROR(ReadDType(json, "key_dtype", &config.key_dtype));
  MSA_RETURN_IF_ERROR(ReadDType(json, "latent_dtype", &config.latent_dtype));
  MSA_RETURN_IF_ERROR(ReadInt(json, "top_k", &config.top_k));
  MSA_RETURN_IF_ERROR(ReadInt(json, "query_offset", &config.query_offset));
  return config;
}

Status ResolveMemoryConfig(const BackboneConfig& backbone, MemoryConfig* memory) {
  if (memory->memory_layers.empty()) {
    for (int64_t l = backbone.num_layers / 2; l < backbone.num_layers; ++l) {
      memory->memory_layers.push_back(l);
    }
  }
  if (memory->chunk_tokens == 0) memory->chunk_tokens = kDefaultChunkTokens;
  if (memory->routing_layers.empty()) memory->routing_layers = {memory->memory_layers.back()};
  MSA_RETURN_IF_ERROR(CheckLayers("a memory layer", memory->memory_layers, backbone.num_layers));
  MSA_RETURN_IF_ERROR(CheckLayers("a routing layer", memory->routing_layers, backbone.num_layers));
  for (const int64_t layer : memory->routing_layers) {
    if (!std::binary_search(memory->memory_layers.begin(), memory->memory_layers.end(), layer)) {
      return Wrong("a routing layer", layer, "one of the memory layers");
    }
  }
  const int64_t context = backbone.context_tokens;
  const auto to = [](int64_t limit) { return "1 to " + std::to_string(limit); };
  if (memory->passage_tokens < 1 || memory->passage_tokens > context) {
    return Wrong("passage_tokens", memory->passage_tokens, to(context) + ", the context");
  }
  if (memory->chunk_tokens < 1 || memory->chunk_tokens > memory->passage_tokens) {
    return Wrong("chunk_tokens", memory->chunk_tokens, to(memory->passage_tokens));
  }
  if (memory->top_k < 1) return Wrong("top_k", memory->top_k, "at least 1");
  if (memory->query_offset < 0 || memory->query_offset >= context) {
    return Wrong("query_offset", memory->query_offset, "0 to " + std::to_string(context - 1));
  }
  if (!IsStorable(memory->key_dtype) || !IsStorable(memory->latent_dtype)) {
    return InvalidArgument("memory configuration: keys and latents are f32, bf16, f16 or i8");
  }
  return OkStatus();
}

}  // namespace msa
