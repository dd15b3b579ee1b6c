// What the other readers need of decoding: is it text at all, and tidy one-line titles.
#pragma once

#include <string>
#include <string_view>

#include "msa/base/status.h"

namespace msa {

// Ok if the start of a file may be text in any of the encodings DecodeText reads. Cheap: lets a
// large image or archive be refused by its first bytes, and named for what it is. `prefix` may end
// inside a character.
Status CheckMayBeText(std::string_view prefix);

// One line for people: white space runs become a blank, control characters go, at most
// `max_bytes`, cut at a character. Empty stays empty.
std::string CleanTitle(std::string_view text, size_t max_bytes = 300);

}  // namespace msa
