#include "msa/train/vocabulary.h"

#include <array>
#include <nlohmann/json.hpp>

#include "msa/base/file.h"
#include "msa/base/hash.h"
#include "msa/text/byte_alphabet.h"

namespace msa {

std::string VocabularyFingerprint(const Tokenizer& tokenizer) {
  std::string all = std::to_string(static_cast<int>(tokenizer.pre_tokenizer())) + "\n";
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string token = tokenizer.Decode({&id, 1}, /*keep_special=*/true);
    all += std::to_string(token.size()) + (tokenizer.IsSpecial(id) ? "!" : " ") + token;
  }
  return HexEncode(Blake2b(AsBytes(all)));
}

std::string VocabularyJson(const Tokenizer& tokenizer) {
  std::array<std::string, 256> alphabet;
  for (size_t byte = 0; byte < alphabet.size(); ++byte) {
    alphabet[byte] = ByteToAlphabet(static_cast<unsigned char>(byte));
  }
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.IsSpecial(id)) {
      tokens.push_back(nullptr);
      continue;
    }
    std::string written;
    for (const char c : tokenizer.Decode({&id, 1}))
      written += alphabet[static_cast<unsigned char>(c)];
    tokens.push_back(std::move(written));
  }
  const nlohmann::ordered_json json = {{"tokenizer", VocabularyFingerprint(tokenizer)},
                                       {"tokens", std::move(tokens)}};
  return json.dump();
}

}  // namespace msa
