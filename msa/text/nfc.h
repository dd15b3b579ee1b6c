// Canonical composition (Unicode's NFC), as the normaliser of Hugging Face `tokenizers` does it: in
// its version of Unicode. Linear, but for sorting within a run of combining marks.
#pragma once

#include <optional>
#include <string_view>

#include "msa/text/edited_text.h"

namespace msa {

// REQUIRES: valid UTF-8. nullopt: `text` is composed already.
std::optional<EditedText> ComposeNfc(std::string_view text);

}  // namespace msa
