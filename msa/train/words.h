// Texts as sequences of word hashes, the same whatever their case, punctuation and spacing: what
// deduplication and the choice of passages compare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace msa {

// A word is a run of letters and digits (ASCII in lower case), or one letter of the scripts above
// U+2E80, which are mostly written without spaces.
struct Words {
  std::vector<uint64_t> hashes;
  std::vector<int64_t> begin;  // bytes into the text
  std::vector<int64_t> end;
};
Words FindWords(std::string_view text);

inline constexpr size_t kGramWords = 13;

// Of each run of kGramWords words, in order: gram i begins with word i. Empty for shorter texts.
std::vector<uint64_t> GramHashes(std::span<const uint64_t> words);

// Equal for texts of equal words; for a text without words, for equal bytes but white space at the
// ends.
uint64_t TextHash(std::span<const uint64_t> words, std::string_view text);

// Does `words` hold `part` as a run? False if `part` is empty.
bool ContainsRun(std::span<const uint64_t> words, std::span<const uint64_t> part);

// A strong mixing of the bits of two numbers (splitmix64).
inline uint64_t MixBits(uint64_t a, uint64_t b) {
  uint64_t x = a + 0x9E3779B97F4A7C15 * (b + 1);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace msa
