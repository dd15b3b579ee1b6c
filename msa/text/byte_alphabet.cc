#include "msa/text/byte_alphabet.h"

#include <array>

#include "msa/base/utf8.h"

namespace msa {
namespace {

constexpr int kEnd = 256 + 68;

struct Alphabet {
  std::array<char32_t, 256> of_byte;
  std::array<int, kEnd> of_char;  // -1: stands for no byte
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet{};
  alphabet.of_char.fill(-1);
  char32_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
    alphabet.of_byte[static_cast<size_t>(byte)] = c;
    alphabet.of_char[c] = byte;
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string ByteToAlphabet(unsigned char byte) {
  std::string text;
  AppendUtf8(kAlphabet.of_byte[byte], &text);
  return text;
}

std::optional<std::string> AlphabetToBytes(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    if (!c.valid || c.code_point >= kEnd || kAlphabet.of_char[c.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kAlphabet.of_char[c.code_point]));
    text.remove_prefix(static_cast<size_t>(c.length_bytes));
  }
  return bytes;
}

}  // namespace msa
