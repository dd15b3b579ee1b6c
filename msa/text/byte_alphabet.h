// GPT-2's way to write bytes as printable characters, in which byte-level vocabularies are stored:
// a printable Latin-1 character stands for its own byte, U+0100 onwards for the 68 others ("Ġ" is a
// space).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace msa {

// The character of a byte, in UTF-8.
std::string ByteToAlphabet(unsigned char byte);

// The bytes that `text` stands for; nullopt if it holds any other character.
std::optional<std::string> AlphabetToBytes(std::string_view text);

}  // namespace msa
