// The classes of characters that pre-tokenization distinguishes.
#pragma once

#include <cstdint>

namespace msa {

enum class CharClass : uint8_t {
  kOther,   // punctuation, symbols, marks, controls, unassigned
  kLetter,  // \p{L}
  kNumber,  // \p{N}
  kSpace,   // \s: Unicode's White_Space
  // A digit only to Rust's char::is_numeric, whose Unicode is newer than that of the regular
  // expressions: SmolLM2 splits it like a number, all patterns read it as kOther.
  kDigitOnly,
};

CharClass ClassOf(char32_t code_point);

}  // namespace msa
