#include "msa/model/backbone_config.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>

namespace msa {
namespace {

using Json = nlohmann::json;

// The arithmetic of transformers, f32 included: its rounding is visible at long positions.
std::vector<float> PlainRopeFrequencies(double theta, int64_t head_dim) {
  std::vector<float> out;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const auto exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    out.push_back(1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent))));
  }
  return out;
}

// Llama 3.1's scaling: long wavelengths are slowed by `factor`, short ones kept, those between
// interpolated (the Llama 3 report, and transformers' _compute_llama3_parameters).
struct Llama3Scaling {
  double factor;
  double low_frequency_factor;
  double high_frequency_factor;
  double original_context;
};

void ScaleRopeFrequencies(const Llama3Scaling& s, std::vector<float>* frequencies) {
  const double low_wavelength = s.original_context / s.low_frequency_factor;
  const double high_wavelength = s.original_context / s.high_frequency_factor;
  for (float& frequency : *frequencies) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength < high_wavelength) continue;
    const double slow = frequency / s.factor;
    if (wavelength > low_wavelength) {
      frequency = static_cast<float>(slow);
      continue;
    }
    const double smooth = (s.original_context / wavelength - s.low_frequency_factor) /
                          (s.high_frequency_factor - s.low_frequency_factor);
    frequency = static_cast<float>((1 - smooth) * slow + smooth * frequency);
  }
}

// Bounds keep every later product of sizes far from overflow; the largest models of both families
// stay below a tenth of them.
Status CheckConfig(const BackboneConfig& c, const std::string& path) {
  struct Bound {
    const char* name;
    int64_t value;
    int64_t limit;
  };
  for (const Bound& b : {Bound{"vocabulary size", c.vocab_size, int64_t{1} << 24},
                         {"hidden size", c.hidden_size, int64_t{1} << 18},
                         {"intermediate size", c.intermediate_size, int64_t{1} << 20},
                         {"number of layers", c.num_layers, 4096},
                         {"number of heads", c.num_heads, 4096},
                         {"number of key/value heads", c.num_kv_heads, 4096},
                         {"head size", c.head_dim, 4096},
                         {"context", c.context_tokens, int64_t{1} << 30}}) {
    if (b.value < 1 || b.value > b.limit) {
      return InvalidArgument(path + ": " + b.name + " is " + std::to_string(b.value) +
                             ", expected 1 to " + std::to_string(b.limit));
    }
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    return InvalidArgument(path + ": " + std::to_string(c.num_heads) +
                           " query heads are no multiple of " + std::to_string(c.num_kv_heads) +
                           " key/value heads");
  }
  if (c.head_dim % 2 != 0) {
    return InvalidArgument(path + ": head size " + std::to_string(c.head_dim) + " is odd");
  }
  if (!(c.rope_theta > 1) || !std::isfinite(c.rope_theta) || !(c.norm_epsilon > 0) ||
      !(c.norm_epsilon < 1)) {
    return InvalidArgument(path + ": rope base " + std::to_string(c.rope_theta) +
                           " or norm epsilon " + std::to_string(c.norm_epsilon) +
                           " is out of range");
  }
  return OkStatus();
}

Status Refuse(const std::string& path, const std::string& what, const std::string& supported) {
  return Unimplemented(path + ": " + what + "; supported: " + supported);
}

// GGUF metadata with a default where the key may be absent.
int64_t IntOr(const GgufFile& file, const std::string& key, int64_t fallback) {
  const auto value = file.GetInt(key);
  return value.ok() ? *value : fallback;
}

Status RefuseGgufExtras(const GgufFile& file, const std::string& family,
                        const BackboneConfig& config) {
  const std::string& path = file.path();
  if (IntOr(file, family + ".expert_count", 0) > 0) {
    return Refuse(path, "a mixture of experts", "dense models");
  }
  const int64_t window = IntOr(file, family + ".attention.sliding_window", 0);
  if (window > 0 && window < config.context_tokens) {
    return Refuse(path, "sliding window of " + std::to_string(window), "full attention");
  }
  const int64_t rotated = IntOr(file, family + ".rope.dimension_count", config.head_dim);
  if (rotated != config.head_dim) {
    return Refuse(path,
                  "rope over " + std::to_string(rotated) + " of " +
                      std::to_string(config.head_dim) + " dimensions",
                  "rope over whole heads");
  }
  const auto scaling = file.GetString(family + ".rope.scaling.type");
  if (scaling.ok() && *scaling != "none") {
    return Refuse(path, "rope scaling \"" + *scaling + "\"", "none, llama3 (rope_freqs.weight)");
  }
  if (file.Find("blk.0.attn_q.bias") != nullptr) {
    return Refuse(path, "attention biases", "projections without bias");
  }
  return OkStatus();
}

// llama.cpp stores Llama 3's scaling as a divisor for each frequency.
Status ApplyRopeDivisors(const GgufFile& file, std::vector<float>* frequencies) {
  const GgufTensor* divisors = file.Find("rope_freqs.weight");
  if (divisors == nullptr) return OkStatus();
  if (divisors->num_elements() != static_cast<int64_t>(frequencies->size())) {
    return InvalidArgument(file.path() + ": rope_freqs.weight has " +
                           std::to_string(divisors->num_elements()) + " values, expected " +
                           std::to_string(frequencies->size()));
  }
  std::vector<float> values(frequencies->size());
  MSA_RETURN_IF_ERROR(DequantizeGgml(divisors->type, divisors->bytes, values)
                          .WithContext(file.path() + ": rope_freqs.weight"));
  for (size_t i = 0; i < values.size(); ++i) (*frequencies)[i] /= values[i];
  return OkStatus();
}

// Typed look-ups in config.json whose errors name the key.
class JsonObject {
 public:
  JsonObject(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}

  bool Has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }

  Result<int64_t> Int(const char* key) const {
    if (!Has(key)) return InvalidArgument(path_ + ": \"" + key + "\" is missing");
    if (!json_[key].is_number_integer()) return Mistyped(key, "an integer");
    return json_[key].get<int64_t>();
  }
  Result<double> Float(const char* key) const {
    if (!Has(key)) return InvalidArgument(path_ + ": \"" + key + "\" is missing");
    if (!json_[key].is_number()) return Mistyped(key, "a number");
    return json_[key].get<double>();
  }
  Result<int64_t> IntOr(const char* key, int64_t fallback) const {
    return Has(key) ? Int(key) : fallback;
  }
  Result<double> FloatOr(const char* key, double fallback) const {
    return Has(key) ? Float(key) : fallback;
  }
  std::string StringOr(const char* key, const std::string& fallback) const {
    return Has(key) && json_[key].is_string() ? json_[key].get<std::string>() : fallback;
  }
  bool IsTrue(const char* key) const {
    return Has(key) && json_[key].is_boolean() && json_[key].get<bool>();
  }
  const Json& operator[](const char* key) const { return json_[key]; }

 private:
  Status Mistyped(const char* key, const char* expected) const {
    return InvalidArgument(path_ + ": \"" + key + "\" is " + json_[key].dump() + ", expected " +
                           expected);
  }

  const Json& json_;
  std::string path_;
};

Status RefuseHuggingFaceExtras(const JsonObject& json, const std::string& path) {
  if (json.Has("quantization_config")) {
    return Refuse(path, "a quantised Hugging Face model (quantization_config)",
                  "F32, F16 and BF16 safetensors; for quantised weights, GGUF");
  }
  if (json.IsTrue("attention_bias") || json.IsTrue("mlp_bias")) {
    return Refuse(path, "biases (attention_bias or mlp_bias)", "projections without bias");
  }
  if (json.IsTrue("use_sliding_window") ||
      (json.Has("layer_types") &&
       json["layer_types"].dump().find("sliding") != std::string::npos)) {
    return Refuse(path, "sliding window attention", "full attention");
  }
  const std::string activation = json.StringOr("hidden_act", "silu");
  if (activation != "silu") return Refuse(path, "hidden_act \"" + activation + "\"", "silu");
  if (json.Has("partial_rotary_factor") && json["partial_rotary_factor"] != 1.0) {
    return Refuse(path, "partial_rotary_factor", "rope over whole heads");
  }
  return OkStatus();
}

// Rope's base and scaling: top-level keys, or transformers 5's rope_parameters.
Status ReadRope(const Json& root, const std::string& path, BackboneConfig* config) {
  const JsonObject json(root, path);
  const char* key = json.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const bool nested = json.Has(key) && root[key].is_object();
  const Json empty = Json::object();
  const JsonObject rope(nested ? root[key] : empty, path + ": " + key);
  MSA_ASSIGN_OR_RETURN(const double outer_theta, json.FloatOr("rope_theta", 10000));
  MSA_ASSIGN_OR_RETURN(config->rope_theta, rope.FloatOr("rope_theta", outer_theta));
  MSA_RETURN_IF_ERROR(CheckConfig(*config, path));
  config->rope_frequencies = PlainRopeFrequencies(config->rope_theta, config->head_dim);
  const std::string type = rope.StringOr("rope_type", rope.StringOr("type", "default"));
  if (type == "default") return OkStatus();
  if (type != "llama3") return Refuse(path, "rope type \"" + type + "\"", "default, llama3");
  Llama3Scaling scaling;
  MSA_ASSIGN_OR_RETURN(scaling.factor, rope.Float("factor"));
  MSA_ASSIGN_OR_RETURN(scaling.low_frequency_factor, rope.Float("low_freq_factor"));
  MSA_ASSIGN_OR_RETURN(scaling.high_frequency_factor, rope.Float("high_freq_factor"));
  MSA_ASSIGN_OR_RETURN(scaling.original_context, rope.Float("original_max_position_embeddings"));
  if (!(scaling.factor >= 1) || !(scaling.low_frequency_factor > 0) ||
      !(scaling.high_frequency_factor > scaling.low_frequency_factor) ||
      !(scaling.original_context > 0)) {
    return InvalidArgument(path + ": " + key + " " + root[key].dump() + " is contradictory");
  }
  ScaleRopeFrequencies(scaling, &config->rope_frequencies);
  return OkStatus();
}

}  // namespace

Result<BackboneConfig> ConfigFromGguf(const GgufFile& file) {
  BackboneConfig c;
  MSA_ASSIGN_OR_RETURN(c.family, file.GetString("general.architecture"));
  if (c.family != "llama" && c.family != "qwen3") {
    return Refuse(file.path(), "architecture \"" + c.family + "\"", "llama, qwen3");
  }
  const std::string prefix = c.family + ".";
  const auto name = file.GetString("general.name");
  c.name = name.ok() ? *name : std::filesystem::path(file.path()).stem().string();
  MSA_ASSIGN_OR_RETURN(c.hidden_size, file.GetInt(prefix + "embedding_length"));
  MSA_ASSIGN_OR_RETURN(c.intermediate_size, file.GetInt(prefix + "feed_forward_length"));
  MSA_ASSIGN_OR_RETURN(c.num_layers, file.GetInt(prefix + "block_count"));
  MSA_ASSIGN_OR_RETURN(c.num_heads, file.GetInt(prefix + "attention.head_count"));
  c.num_kv_heads = IntOr(file, prefix + "attention.head_count_kv", c.num_heads);
  if (c.num_heads < 1) return InvalidArgument(file.path() + ": no attention heads");
  c.head_dim = IntOr(file, prefix + "attention.key_length", c.hidden_size / c.num_heads);
  MSA_ASSIGN_OR_RETURN(c.context_tokens, file.GetInt(prefix + "context_length"));
  const auto theta = file.GetFloat(prefix + "rope.freq_base");
  c.rope_theta = theta.ok() ? *theta : 10000;
  MSA_ASSIGN_OR_RETURN(c.norm_epsilon, file.GetFloat(prefix + "attention.layer_norm_rms_epsilon"));
  const GgufTensor* embedding = file.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return DataLoss(file.path() + ": tensor token_embd.weight is missing or no matrix");
  }
  c.vocab_size = embedding->shape[0];
  c.tied_embeddings = file.Find("output.weight") == nullptr;
  c.attention_norms = c.family == "qwen3";
  MSA_RETURN_IF_ERROR(CheckConfig(c, file.path()));
  MSA_RETURN_IF_ERROR(RefuseGgufExtras(file, c.family, c));
  c.rope_frequencies = PlainRopeFrequencies(c.rope_theta, c.head_dim);
  MSA_RETURN_IF_ERROR(ApplyRopeDivisors(file, &c.rope_frequencies));
  return c;
}

Result<BackboneConfig> ConfigFromHuggingFace(std::string_view text, const std::string& path) {
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return InvalidArgument(path + ": not a JSON object");
  const JsonObject json(root, path);
  BackboneConfig c;
  c.family = json.StringOr("model_type", "");
  if (c.family != "llama" && c.family != "qwen3") {
    return Refuse(path, "model_type \"" + c.family + "\"", "llama, qwen3");
  }
  MSA_RETURN_IF_ERROR(RefuseHuggingFaceExtras(json, path));
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  c.name = json.StringOr("_name_or_path", folder.filename().string());
  MSA_ASSIGN_OR_RETURN(c.vocab_size, json.Int("vocab_size"));
  MSA_ASSIGN_OR_RETURN(c.hidden_size, json.Int("hidden_size"));
  MSA_ASSIGN_OR_RETURN(c.intermediate_size, json.Int("intermediate_size"));
  MSA_ASSIGN_OR_RETURN(c.num_layers, json.Int("num_hidden_layers"));
  MSA_ASSIGN_OR_RETURN(c.num_heads, json.Int("num_attention_heads"));
  if (c.num_heads < 1) return InvalidArgument(path + ": no attention heads");
  MSA_ASSIGN_OR_RETURN(c.num_kv_heads, json.IntOr("num_key_value_heads", c.num_heads));
  const int64_t default_head_dim =  // of transformers
      c.family == "qwen3" ? 128 : c.hidden_size / c.num_heads;
  MSA_ASSIGN_OR_RETURN(c.head_dim, json.IntOr("head_dim", default_head_dim));
  MSA_ASSIGN_OR_RETURN(c.context_tokens, json.Int("max_position_embeddings"));
  MSA_ASSIGN_OR_RETURN(c.norm_epsilon, json.FloatOr("rms_norm_eps", 1e-6));
  c.tied_embeddings = json.IsTrue("tie_word_embeddings");
  c.attention_norms = c.family == "qwen3";
  MSA_RETURN_IF_ERROR(ReadRope(root, path, &c));
  return c;
}

}  // namespace msa
