#include "msa/train/words.h"

#include <algorithm>

#include "msa/base/utf8.h"
#include "msa/text/char_class.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

constexpr char32_t kUnspacedFrom = 0x2E80;
constexpr uint64_t kFnvOffset = 0xCBF29CE484222325;
constexpr uint64_t kFnvPrime = 0x100000001B3;
constexpr uint64_t kGramBase = 0x9E3779B97F4A7C15;  // odd, so that no word is multiplied away

bool IsWordChar(char32_t c) {
  const CharClass kind = ClassOf(c);
  return kind == CharClass::kLetter || kind == CharClass::kNumber;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = kFnvOffset;
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(LowerAscii(c))) * kFnvPrime;
  }
  return MixBits(hash, bytes.size());
}

}  // namespace

Words FindWords(std::string_view text) {
  Words words;
  const auto add = [&](size_t begin, size_t end) {
    words.hashes.push_back(HashBytes(text.substr(begin, end - begin)));
    words.begin.push_back(static_cast<int64_t>(begin));
    words.end.push_back(static_cast<int64_t>(end));
  };
  constexpr size_t kNone = std::string_view::npos;
  size_t start = kNone;  // of the word being read
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const size_t next = i + static_cast<size_t>(c.length_bytes);
    const bool inside = IsWordChar(c.code_point);
    const bool alone = inside && c.code_point >= kUnspacedFrom;
    if (start != kNone && (!inside || alone)) {
      add(start, i);
      start = kNone;
    }
    if (alone) {
      add(i, next);
    } else if (inside && start == kNone) {
      start = i;
    }
    i = next;
  }
  if (start != kNone) add(start, text.size());
  return words;
}

std::vector<uint64_t> GramHashes(std::span<const uint64_t> words) {
  std::vector<uint64_t> grams;
  if (words.size() < kGramWords) return grams;
  grams.reserve(words.size() - kGramWords + 1);
  uint64_t leaving = 1;  // kGramBase to the power kGramWords, modulo 2^64
  for (size_t i = 0; i < kGramWords; ++i) leaving *= kGramBase;
  uint64_t rolling = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    rolling = rolling * kGramBase + words[i];
    if (i >= kGramWords) rolling -= leaving * words[i - kGramWords];
    if (i + 1 >= kGramWords) grams.push_back(MixBits(rolling, kGramWords));
  }
  return grams;
}

uint64_t TextHash(std::span<const uint64_t> words, std::string_view text) {
  if (words.empty()) return MixBits(HashBytes(Trim(text)), 0);
  uint64_t hash = words.size();
  for (const uint64_t word : words) hash = MixBits(hash, word);
  return hash;
}

bool ContainsRun(std::span<const uint64_t> words, std::span<const uint64_t> part) {
  return !part.empty() && !std::ranges::search(words, part).empty();
}

}  // namespace msa
