// What the tokenizers know of Unicode: character classes and canonical (de)composition. The tables
// are our own, not a library's, so that the same text gives the same tokens on every machine.
#pragma once

#include <cstdint>
#include <span>

#include "msa/text/char_class.h"

namespace msa::unicode {

// Code points first to last, both included. Ascending and disjoint; all others are kOther.
struct ClassRange {
  char32_t first;
  char32_t last;
  CharClass value;
};
std::span<const ClassRange> Classes();

// Canonical combining classes other than 0, ascending.
struct CombiningRange {
  char32_t first;
  char32_t last;
  uint8_t value;
};
std::span<const CombiningRange> CombiningClasses();

// Canonical decompositions, one step, ascending by code point; Hangul syllables are left to
// arithmetic. `second` is 0 where the mapping is one character.
struct Decomposition {
  char32_t code_point;
  char32_t first;
  char32_t second;
  bool composes;  // first and second become code_point again
};
std::span<const Decomposition> Decompositions();

}  // namespace msa::unicode
