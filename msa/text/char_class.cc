#include "msa/text/char_class.h"

#include <algorithm>
#include <array>

#include "msa/text/unicode_tables.h"

namespace msa {
namespace {

constexpr char32_t kDirectSize = 0x10000;

// The basic plane by direct lookup: 64 KiB, of which a text touches a few pages.
std::array<CharClass, kDirectSize> ExpandBasicPlane() {
  std::array<CharClass, kDirectSize> classes{};
  for (const unicode::ClassRange& range : unicode::Classes()) {
    for (char32_t c = range.first; c <= range.last && c < kDirectSize; ++c)
      classes[c] = range.value;
  }
  return classes;
}

}  // namespace

CharClass ClassOf(char32_t code_point) {
  static const std::array<CharClass, kDirectSize> kBasicPlane = ExpandBasicPlane();
  if (code_point < kDirectSize) return kBasicPlane[code_point];
  const auto ranges = unicode::Classes();
  const auto range = std::ranges::lower_bound(ranges, code_point, {}, &unicode::ClassRange::last);
  return range != ranges.end() && range->first <= code_point ? range->value : CharClass::kOther;
}

}  // namespace msa
