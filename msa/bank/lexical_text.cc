#include "msa/bank/lexical_text.h"

#include <cstdint>
#include <vector>

#include "msa/base/utf8.h"

namespace msa {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

constexpr Range kUnspaced[] = {
    {0x0E00, 0x0E7F},    // Thai
    {0x0E80, 0x0EFF},    // Lao
    {0x1000, 0x109F},    // Myanmar
    {0x1780, 0x17FF},    // Khmer
    {0x1950, 0x19DF},    // Tai Le, New Tai Lue
    {0x1A20, 0x1AAF},    // Tai Tham
    {0x3005, 0x3007},    // ideographic iteration mark, zero
    {0x3041, 0x309F},    // Hiragana
    {0x30A1, 0x30FA},    // Katakana, without its middle dot
    {0x30FC, 0x312F},    // sound mark, Bopomofo
    {0x31A0, 0x31BF},    // Bopomofo extended
    {0x31F0, 0x31FF},    // Katakana extensions
    {0x3400, 0x4DBF},    // Han extension A
    {0x4E00, 0x9FFF},    // Han
    {0xA9E0, 0xA9FF},    // Myanmar extended B
    {0xAA60, 0xAADF},    // Myanmar extended A, Tai Viet
    {0xF900, 0xFAFF},    // Han compatibility
    {0xFF66, 0xFF9F},    // halfwidth Katakana
    {0x20000, 0x3FFFF},  // Han extensions B and later
};

// Collects a run of unspaced characters and writes it out when the run ends.
class RunBreaker {
 public:
  RunBreaker(bool with_single_characters, std::string* out)
      : with_single_characters_(with_single_characters), out_(out) {}

  void Push(std::string_view character) { run_.push_back(character); }

  void Flush() {
    if (run_.empty()) return;
    const size_t n = run_.size();
    for (size_t i = 0; i < n; ++i) {
      if (with_single_characters_ || n == 1) Word(run_[i], {});
      if (i + 1 < n) Word(run_[i], run_[i + 1]);
    }
    out_->push_back(' ');
    run_.clear();
  }

 private:
  void Word(std::string_view a, std::string_view b) {
    out_->push_back(' ');
    out_->append(a);
    out_->append(b);
  }

  const bool with_single_characters_;
  std::string* out_;
  std::vector<std::string_view> run_;
};

void Append(std::string_view text, bool with_single_characters, std::string* out) {
  RunBreaker breaker(with_single_characters, out);
  size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {  // most text: no decoding
      breaker.Flush();
      out->push_back(byte == 0 ? ' ' : text[i]);
      ++i;
      continue;
    }
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const auto length = static_cast<size_t>(c.length_bytes);
    if (c.valid && IsUnspacedScript(c.code_point)) {
      breaker.Push(text.substr(i, length));
    } else {
      breaker.Flush();
      if (c.valid) {
        out->append(text.substr(i, length));
      } else {
        AppendUtf8(c.code_point, out);
      }
    }
    i += length;
  }
  breaker.Flush();
}

}  // namespace

bool IsUnspacedScript(char32_t code_point) {
  if (code_point < kUnspaced[0].first) return false;
  for (const Range& range : kUnspaced) {
    if (code_point <= range.last) return code_point >= range.first;
  }
  return false;
}

void AppendForIndex(std::string_view text, std::string* out) {
  Append(text, /*with_single_characters=*/true, out);
}

std::string PrepareQuestion(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Append(text, /*with_single_characters=*/false, &out);
  return out;
}

}  // namespace msa
