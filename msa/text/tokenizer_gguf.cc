// A tokenizer from the metadata of a GGUF file.
#include <array>

#include "msa/text/bpe_tokenizer.h"

namespace msa {
namespace {

// Values of tokenizer.ggml.token_type.
enum GgufTokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

struct Family {
  const char* name;  // tokenizer.ggml.pre
  PreTokenizer pre_tokenizer;
  // GGUF says neither of these; they are the family's.
  bool compose_nfc;
  bool whole_words;
};

constexpr std::array<Family, 3> kFamilies = {{{"smollm", PreTokenizer::kSmolLM2, false, false},
                                              {"llama-bpe", PreTokenizer::kLlama3, false, true},
                                              {"qwen2", PreTokenizer::kQwen3, true, false}}};

Result<Family> FindFamily(const GgufFile& file) {
  MSA_ASSIGN_OR_RETURN(const std::string model, file.GetString("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return Unimplemented(file.path() + ": tokenizer model \"" + model +
                         "\"; byte-level BPE (\"gpt2\") is supported");
  }
  MSA_ASSIGN_OR_RETURN(const std::string pre, file.GetString("tokenizer.ggml.pre"));
  std::string known;
  for (const Family& family : kFamilies) {
    if (pre == family.name) return family;
    known.append(" ").append(family.name);
  }
  return Unimplemented(file.path() + ": pre-tokenizer \"" + pre + "\"; supported are" + known);
}

// Token types by id; all normal where the file does not say.
Result<GgufInts> TokenTypes(const GgufFile& file, size_t num_tokens) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  if (file.metadata().find(kKey) == file.metadata().end()) return GgufInts(num_tokens, kNormal);
  MSA_ASSIGN_OR_RETURN(const GgufInts* types, file.GetInts(kKey));
  if (types->size() != num_tokens) {
    return DataLoss(file.path() + ": " + std::to_string(types->size()) + " token types for " +
                    std::to_string(num_tokens) + " tokens");
  }
  return *types;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::FromGguf(const GgufFile& file) {
  MSA_ASSIGN_OR_RETURN(const Family family, FindFamily(file));
  MSA_ASSIGN_OR_RETURN(const GgufStrings* tokens, file.GetStrings("tokenizer.ggml.tokens"));
  MSA_ASSIGN_OR_RETURN(const GgufStrings* merges, file.GetStrings("tokenizer.ggml.merges"));
  MSA_ASSIGN_OR_RETURN(const GgufInts types, TokenTypes(file, tokens->size()));

  TokenizerSpec spec;
  spec.tokens = *tokens;
  spec.pre_tokenizer = family.pre_tokenizer;
  spec.compose_nfc = family.compose_nfc;
  spec.whole_words = family.whole_words;
  spec.outside_merges.resize(tokens->size());
  for (size_t id = 0; id < tokens->size(); ++id) {
    if (types[id] == kNormal) continue;
    spec.outside_merges[id] = true;
    const bool special = types[id] == kControl || types[id] == kUnknown;
    if (special || types[id] == kUserDefined) {
      spec.added.push_back({(*tokens)[id], static_cast<TokenId>(id), special});
    }
  }
  for (const std::string& merge : *merges) {
    const size_t space = merge.find(' ');
    if (space == std::string::npos) {
      return DataLoss(file.path() + ": merge \"" + merge + "\" is not two tokens");
    }
    spec.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  auto tokenizer = MakeBpeTokenizer(std::move(spec));
  if (!tokenizer.ok()) return tokenizer.status().WithContext(file.path());
  return tokenizer;
}

}  // namespace msa
