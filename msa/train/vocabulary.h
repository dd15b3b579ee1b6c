// A tokenizer's vocabulary as a pack names it and as programs without the model read it.
#pragma once

#include <string>

#include "msa/text/tokenizer.h"

namespace msa {

// Hex BLAKE2b-256 of what the ids mean: the bytes of every token, which are special, how text is
// split. Models that share a vocabulary share packs, whatever file it comes from.
std::string VocabularyFingerprint(const Tokenizer& tokenizer);

// JSON: {"tokenizer": fingerprint, "tokens": [by id]}. Tokens in GPT-2's byte alphabet, since the
// bytes of one need not be UTF-8; special tokens are null.
std::string VocabularyJson(const Tokenizer& tokenizer);

}  // namespace msa
