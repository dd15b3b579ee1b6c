// Splits text into pre-tokens, the pieces that byte-pair merges never cross. Written as scanners
// and not as regular expressions: what \p{L}, \p{N} and \s mean must not depend on the version of a
// library, and a run of any length takes linear time and no stack.
//
// The patterns, in Hugging Face's notation:
//   SmolLM2  each numeric character alone; between them, as if each stretch were a text of its own,
//            's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   Llama 3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
//             ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//   Qwen 3   as Llama 3 with \p{N} in place of \p{N}{1,3}
#pragma once

#include <cstddef>
#include <string_view>

#include "msa/text/tokenizer.h"

namespace msa {

// Bytes of the first pre-token of `text`, at least 1. REQUIRES: text is not empty and valid UTF-8;
// it must hold all that follows, since patterns look ahead.
size_t NextPreToken(PreTokenizer kind, std::string_view text);

}  // namespace msa
