// WeightSource over a Hugging Face folder: config.json, model.safetensors or the shards that
// model.safetensors.index.json names, tokenizer.json, and the chat template where it may be.

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "msa/base/safetensors.h"
#include "msa/model/backbone_config.h"
#include "msa/model/weight_source.h"

namespace msa {
namespace {

using Json = nlohmann::json;

std::string TensorName(WeightId id) {
  const std::string layer = "model.layers." + std::to_string(id.layer) + ".";
  switch (id.weight) {
    case Weight::kTokenEmbedding: return "model.embed_tokens.weight";
    case Weight::kOutputNorm: return "model.norm.weight";
    case Weight::kOutput: return "lm_head.weight";
    case Weight::kAttentionNorm: return layer + "input_layernorm.weight";
    case Weight::kQuery: return layer + "self_attn.q_proj.weight";
    case Weight::kKey: return layer + "self_attn.k_proj.weight";
    case Weight::kValue: return layer + "self_attn.v_proj.weight";
    case Weight::kAttentionOutput: return layer + "self_attn.o_proj.weight";
    case Weight::kQueryNorm: return layer + "self_attn.q_norm.weight";
    case Weight::kKeyNorm: return layer + "self_attn.k_norm.weight";
    case Weight::kMlpNorm: return layer + "post_attention_layernorm.weight";
    case Weight::kGate: return layer + "mlp.gate_proj.weight";
    case Weight::kUp: return layer + "mlp.up_proj.weight";
    case Weight::kDown: return layer + "mlp.down_proj.weight";
  }
  MSA_CHECK(false);
}

template <class T>
T LoadUnaligned(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

void Widen(const SafeTensor& tensor, std::span<float> out) {
  const std::byte* in = tensor.bytes.data();
  switch (tensor.dtype) {
    case DType::kF32: std::memcpy(out.data(), in, tensor.bytes.size()); return;
    case DType::kF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = ToFloat(LoadUnaligned<F16>(in + 2 * i));
      return;
    case DType::kBF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = ToFloat(LoadUnaligned<BF16>(in + 2 * i));
      return;
    default: MSA_CHECK(false);
  }
}

// The chat template: a file of its own, or a string (or named strings) in tokenizer_config.json.
std::string FindChatTemplate(const std::string& folder) {
  if (auto text = ReadFile(folder + "/chat_template.jinja"); text.ok()) return *text;
  const auto text = ReadFile(folder + "/tokenizer_config.json");
  if (!text.ok()) return "";
  const Json config = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("chat_template")) return "";
  const Json& found = config["chat_template"];
  if (found.is_string()) return found.get<std::string>();
  if (!found.is_array()) return "";
  for (const Json& item : found) {
    if (item.is_object() && item.value("name", "") == "default") return item.value("template", "");
  }
  return "";
}

class HuggingFaceWeights : public WeightSource {
 public:
  static Result<std::unique_ptr<WeightSource>> Open(const std::string& folder) {
    std::unique_ptr<HuggingFaceWeights> weights(new HuggingFaceWeights(folder));
    const std::string config_path = folder + "/config.json";
    MSA_ASSIGN_OR_RETURN(const std::string config, ReadFile(config_path));
    MSA_ASSIGN_OR_RETURN(weights->config_, ConfigFromHuggingFace(config, config_path));
    MSA_RETURN_IF_ERROR(weights->OpenFiles());
    MSA_RETURN_IF_ERROR(weights->CheckAll());
    MSA_RETURN_IF_ERROR(weights->ComputeFingerprint(config));
    weights->chat_template_ = FindChatTemplate(folder);
    return std::unique_ptr<WeightSource>(std::move(weights));
  }

  Status Read(WeightId id, std::span<float> out) const override {
    const SafeTensor* tensor = Find(TensorName(id));
    MSA_CHECK(tensor != nullptr && tensor->num_elements() == static_cast<int64_t>(out.size()));
    Widen(*tensor, out);
    return OkStatus();
  }
  std::optional<WeightBlocks> ReadBlocks(WeightId) const override { return std::nullopt; }
  int matrix_bits() const override {
    return static_cast<int>(8 * DTypeSize(Find(TensorName({Weight::kDown, 0}))->dtype));
  }
  Result<std::unique_ptr<Tokenizer>> LoadTokenizer() const override {
    return Tokenizer::FromJsonFile(folder_ + "/tokenizer.json");
  }
  const std::string& chat_template() const override { return chat_template_; }
  int64_t file_bytes() const override {
    int64_t total = 0;
    for (const auto& file : files_) total += file->size_bytes();
    return total;
  }
  Digest fingerprint() const override { return fingerprint_; }

 private:
  explicit HuggingFaceWeights(std::string folder) : folder_(std::move(folder)) {}

  Status OpenFiles() {
    const std::string single = folder_ + "/model.safetensors";
    const std::string index = folder_ + "/model.safetensors.index.json";
    std::error_code error;
    if (std::filesystem::exists(single, error)) return OpenFile(single);
    if (!std::filesystem::exists(index, error)) {
      return NotFound(folder_ + ": neither model.safetensors nor model.safetensors.index.json");
    }
    MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(index));
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
      return DataLoss(index + ": no object \"weight_map\"");
    }
    std::map<std::string, bool> names;  // sorted: the fingerprint must not depend on JSON's order
    for (const auto& [tensor, file] : json["weight_map"].items()) {
      // A name with a folder in it could point anywhere.
      if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos) {
        return DataLoss(index + ": the file of tensor " + tensor + " is " + file.dump() +
                        ", expected a file name");
      }
      names[file.get<std::string>()] = true;
    }
    for (const auto& [name, unused] : names) MSA_RETURN_IF_ERROR(OpenFile(folder_ + "/" + name));
    return OkStatus();
  }

  Status OpenFile(const std::string& path) {
    MSA_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(path));
    files_.push_back(std::move(file));
    return OkStatus();
  }

  const SafeTensor* Find(const std::string& name) const {
    for (const auto& file : files_) {
      if (const SafeTensor* tensor = file->Find(name)) return tensor;
    }
    return nullptr;
  }

  Status Check(WeightId id) const override {
    const std::string name = TensorName(id);
    const SafeTensor* tensor = Find(name);
    const std::string& path = files_.size() == 1 ? files_[0]->path() : folder_;
    if (tensor == nullptr) return DataLoss(path + ": tensor " + name + " is missing");
    MSA_RETURN_IF_ERROR(CheckShape(id.weight, tensor->shape, path, name));
    if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16 &&
        tensor->dtype != DType::kBF16) {
      return Unimplemented(path + ": tensor " + name + " has type " +
                           std::string(DTypeName(tensor->dtype)) + "; supported: f32, f16, bf16");
    }
    return OkStatus();
  }

  // The tokenizer belongs to it: other tokens are other latents.
  Status ComputeFingerprint(const std::string& config) {
    std::vector<std::byte> digests;
    const auto add = [&](const Digest& digest) {
      digests.insert(digests.end(), digest.begin(), digest.end());
    };
    add(Blake2b(AsBytes(config)));
    const auto tokenizer = ReadFile(folder_ + "/tokenizer.json");
    if (tokenizer.ok()) add(Blake2b(AsBytes(*tokenizer)));
    for (const auto& file : files_) {
      MSA_ASSIGN_OR_RETURN(const Digest digest, SampledDigest(file->path()));
      add(digest);
    }
    fingerprint_ = Blake2b(digests);
    return OkStatus();
  }

  std::string folder_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::string chat_template_;
  Digest fingerprint_;
};

}  // namespace

Result<std::unique_ptr<WeightSource>> OpenHuggingFaceWeights(const std::string& folder) {
  return HuggingFaceWeights::Open(folder);
}

}  // namespace msa
