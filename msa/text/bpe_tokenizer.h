// What a GGUF file and a tokenizer.json both say about a tokenizer, and the tokenizer made of it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "msa/base/status.h"
#include "msa/text/added_tokens.h"
#include "msa/text/tokenizer.h"

namespace msa {

struct TokenizerSpec {
  // By id, as the vocabulary writes them (byte_alphabet.h); empty: no such token.
  std::vector<std::string> tokens;
  // Ids that merges neither take nor give: tokens with a role of their own.
  std::vector<bool> outside_merges;
  std::vector<std::pair<std::string, std::string>> merges;  // in the order learned
  std::vector<AddedToken> added;
  std::vector<AddedToken> added_normalized;  // looked for behind the normaliser
  PreTokenizer pre_tokenizer = PreTokenizer::kSmolLM2;
  bool compose_nfc = false;
  bool whole_words = false;  // Bpe's
  TokenId unknown = -1;      // Bpe's
};

// kDataLoss if a merge names a token that the vocabulary lacks.
Result<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(TokenizerSpec spec);

}  // namespace msa
