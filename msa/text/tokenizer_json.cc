// A tokenizer from a Hugging Face tokenizer.json. Whatever such a file can ask for beyond the three
// families is refused by name, since ignoring it would give other tokens.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "msa/text/bpe_tokenizer.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxFileBytes = int64_t{256} << 20;
constexpr int64_t kMaxTokens = int64_t{1} << 24;

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Members that may be missing, null or of another type: then the default.
const Json& Member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

bool BoolMember(const Json& object, const char* key, bool otherwise = false) {
  const Json& value = Member(object, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

std::string_view StringMember(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  return value.is_string() ? std::string_view(value.get_ref<const std::string&>()) : "";
}

bool IsByteLevel(const Json& step, bool use_regex) {
  return StringMember(step, "type") == "ByteLevel" && !BoolMember(step, "add_prefix_space", true) &&
         BoolMember(step, "use_regex", true) == use_regex;
}

Result<PreTokenizer> ParsePreTokenizer(const Json& json) {
  const Json& steps = Member(json, "pretokenizers");
  if (StringMember(json, "type") == "Sequence" && steps.is_array() && steps.size() == 2) {
    const Json& first = steps[0];
    if (StringMember(first, "type") == "Digits" && BoolMember(first, "individual_digits") &&
        IsByteLevel(steps[1], /*use_regex=*/true)) {
      return PreTokenizer::kSmolLM2;
    }
    if (StringMember(first, "type") == "Split" && StringMember(first, "behavior") == "Isolated" &&
        !BoolMember(first, "invert") && IsByteLevel(steps[1], /*use_regex=*/false)) {
      const std::string_view pattern = StringMember(Member(first, "pattern"), "Regex");
      if (pattern == kLlama3Pattern) return PreTokenizer::kLlama3;
      if (pattern == kQwen3Pattern) return PreTokenizer::kQwen3;
    }
  }
  return Unimplemented("pre_tokenizer " + json.dump().substr(0, 300) +
                       "; those of SmolLM2, Llama 3 and Qwen 2 or 3 are supported");
}

Result<bool> ParseNormalizer(const Json& json) {
  if (json.is_null()) return false;
  if (StringMember(json, "type") == "NFC") return true;
  return Unimplemented("normalizer " + json.dump().substr(0, 300) + "; none and NFC are supported");
}

// Puts `text` at `id`, growing the vocabulary as far as a sound file can need.
Status SetToken(int64_t id, std::string_view text, TokenizerSpec* spec) {
  if (id < 0 || id >= kMaxTokens) {
    return DataLoss("token \"" + std::string(text) + "\" has id " + std::to_string(id));
  }
  const auto at = static_cast<size_t>(id);
  if (at >= spec->tokens.size()) spec->tokens.resize(at + 1);
  if (!spec->tokens[at].empty() && spec->tokens[at] != text) {
    return DataLoss("id " + std::to_string(id) + " is both \"" + spec->tokens[at] + "\" and \"" +
                    std::string(text) + "\"");
  }
  spec->tokens[at] = text;
  return OkStatus();
}

Status ParseMerges(const Json& merges, TokenizerSpec* spec) {
  if (!merges.is_array()) return DataLoss("model.merges is not an array");
  for (const Json& merge : merges) {  // "a b", or ["a", "b"] since 2024
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space != std::string::npos) {
        spec->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
        continue;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      spec->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    return DataLoss("merge " + merge.dump().substr(0, 100) + " is not two tokens");
  }
  return OkStatus();
}

Status ParseModel(const Json& model, TokenizerSpec* spec) {
  if (const auto type = StringMember(model, "type"); type != "BPE" && !type.empty()) {
    return Unimplemented("model " + std::string(type) + "; byte-level BPE is supported");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!StringMember(model, key).empty()) {
      return Unimplemented("model." + std::string(key) + " is not supported");
    }
  }
  for (const char* key : {"byte_fallback", "fuse_unk"}) {
    if (BoolMember(model, key))
      return Unimplemented("model." + std::string(key) + " is not supported");
  }
  if (!Member(model, "dropout").is_null()) return Unimplemented("model.dropout is not supported");
  const Json& vocabulary = Member(model, "vocab");
  if (!vocabulary.is_object()) return DataLoss("model.vocab is not an object");
  for (const auto& [text, id] : vocabulary.items()) {
    if (!id.is_number_integer()) return DataLoss("the id of token \"" + text + "\" is no integer");
    MSA_RETURN_IF_ERROR(SetToken(id.get<int64_t>(), text, spec));
    if (text == StringMember(model, "unk_token")) spec->unknown = id.get<TokenId>();
  }
  spec->whole_words = BoolMember(model, "ignore_merges");
  return ParseMerges(Member(model, "merges"), spec);
}

Status ParseAddedTokens(const Json& added, TokenizerSpec* spec) {
  if (added.is_null()) return OkStatus();
  if (!added.is_array()) return DataLoss("added_tokens is not an array");
  for (const Json& token : added) {
    const std::string content(StringMember(token, "content"));
    const Json& id = Member(token, "id");
    if (content.empty() || !id.is_number_integer()) {
      return DataLoss("added token " + token.dump().substr(0, 200) + " lacks content or id");
    }
    for (const char* key : {"lstrip", "rstrip", "single_word"}) {
      if (BoolMember(token, key)) {
        return Unimplemented("added token \"" + content + "\": " + key + " is not supported");
      }
    }
    MSA_RETURN_IF_ERROR(SetToken(id.get<int64_t>(), content, spec));
    auto& list = BoolMember(token, "normalized") ? spec->added_normalized : spec->added;
    list.push_back({content, id.get<TokenId>(), BoolMember(token, "special")});
  }
  spec->outside_merges.resize(spec->tokens.size());
  for (const auto* list : {&spec->added, &spec->added_normalized}) {
    for (const AddedToken& t : *list) spec->outside_merges[static_cast<size_t>(t.id)] = true;
  }
  return OkStatus();
}

Result<TokenizerSpec> ParseTokenizer(const Json& json) {
  if (!json.is_object()) return InvalidArgument("not a JSON object");
  TokenizerSpec spec;
  MSA_ASSIGN_OR_RETURN(spec.pre_tokenizer, ParsePreTokenizer(Member(json, "pre_tokenizer")));
  MSA_ASSIGN_OR_RETURN(spec.compose_nfc, ParseNormalizer(Member(json, "normalizer")));
  MSA_RETURN_IF_ERROR(ParseModel(Member(json, "model"), &spec));
  MSA_RETURN_IF_ERROR(ParseAddedTokens(Member(json, "added_tokens"), &spec));
  return spec;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::FromJsonFile(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  auto spec = ParseTokenizer(Json::parse(text, nullptr, /*allow_exceptions=*/false));
  if (!spec.ok()) return spec.status().WithContext(path);
  auto tokenizer = MakeBpeTokenizer(*std::move(spec));
  if (!tokenizer.ok()) return tokenizer.status().WithContext(path);
  return tokenizer;
}

}  // namespace msa
