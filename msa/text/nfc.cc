#include "msa/text/nfc.h"

#include <algorithm>
#include <bitset>
#include <unordered_map>
#include <utility>
#include <vector>

#include "msa/base/utf8.h"
#include "msa/text/unicode_tables.h"

namespace msa {
namespace {

// Hangul by arithmetic (The Unicode Standard, 3.12).
constexpr char32_t kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7, kSBase = 0xAC00;
constexpr char32_t kLCount = 19, kVCount = 21, kTCount = 28;
constexpr char32_t kSCount = kLCount * kVCount * kTCount;

// Every character that composition can touch lies below.
constexpr size_t kEnd = 0x30000;

struct Mark {
  char32_t code_point;
  uint8_t combining;
};

uint64_t PairKey(char32_t first, char32_t second) {
  return static_cast<uint64_t>(first) << 32 | second;
}

class Tables {
 public:
  static const Tables& Get() {
    static const Tables kTables;
    return kTables;
  }

  // A character that a neighbour before it may change, or that is not itself composed. All others
  // are boundaries: what lies on their two sides composes independently.
  bool unsafe(char32_t c) const { return c < kEnd && unsafe_[c]; }

  uint8_t combining(char32_t c) const {
    const auto ranges = unicode::CombiningClasses();
    const auto range = std::ranges::lower_bound(ranges, c, {}, &unicode::CombiningRange::last);
    return range != ranges.end() && range->first <= c ? range->value : 0;
  }

  void Decompose(char32_t c, std::vector<Mark>* out) const {
    if (const char32_t s = c - kSBase; s < kSCount) {
      out->push_back({kLBase + s / (kVCount * kTCount), 0});
      out->push_back({kVBase + s / kTCount % kVCount, 0});
      if (s % kTCount != 0) out->push_back({kTBase + s % kTCount, 0});
      return;
    }
    const auto all = unicode::Decompositions();
    const auto found = std::ranges::lower_bound(all, c, {}, &unicode::Decomposition::code_point);
    if (found == all.end() || found->code_point != c) {
      out->push_back({c, combining(c)});
      return;
    }
    Decompose(found->first, out);
    if (found->second != 0) Decompose(found->second, out);
  }

  // What the two become, or 0.
  char32_t Compose(char32_t first, char32_t second) const {
    if (const char32_t l = first - kLBase; l < kLCount) {
      const char32_t v = second - kVBase;
      return v < kVCount ? kSBase + (l * kVCount + v) * kTCount : 0;
    }
    if (const char32_t s = first - kSBase; s < kSCount && s % kTCount == 0) {
      const char32_t t = second - kTBase;
      return t > 0 && t < kTCount ? first + t : 0;
    }
    const auto found = composites_.find(PairKey(first, second));
    return found == composites_.end() ? 0 : found->second;
  }

 private:
  Tables() {
    for (const auto& range : unicode::CombiningClasses()) {
      for (char32_t c = range.first; c <= range.last; ++c) unsafe_.set(c);
    }
    for (char32_t v = 0; v < kVCount; ++v) unsafe_.set(kVBase + v);
    for (char32_t t = 1; t < kTCount; ++t) unsafe_.set(kTBase + t);
    for (const auto& d : unicode::Decompositions()) {
      if (!d.composes) {
        unsafe_.set(d.code_point);
      } else {
        composites_.emplace(PairKey(d.first, d.second), d.code_point);
        unsafe_.set(d.second);
      }
    }
  }

  std::bitset<kEnd> unsafe_;
  std::unordered_map<uint64_t, char32_t> composites_;
};

// Marks between two starters, in the order of their combining classes.
void Reorder(std::vector<Mark>* marks) {
  for (auto it = marks->begin(); it != marks->end();) {
    if (it->combining == 0) {
      ++it;
      continue;
    }
    const auto end = std::find_if(it, marks->end(), [](const Mark& m) { return m.combining == 0; });
    std::stable_sort(it, end,
                     [](const Mark& a, const Mark& b) { return a.combining < b.combining; });
    it = end;
  }
}

// Composes in place. A mark joins the last starter unless one of the same or a higher class stands
// between them.
void Recompose(const Tables& tables, std::vector<Mark>* marks) {
  size_t size = 0;
  std::optional<size_t> starter;
  for (const Mark mark : *marks) {
    if (starter && (size == *starter + 1 || (*marks)[size - 1].combining < mark.combining)) {
      const char32_t joined = tables.Compose((*marks)[*starter].code_point, mark.code_point);
      if (joined != 0) {
        (*marks)[*starter].code_point = joined;
        continue;
      }
    }
    if (mark.combining == 0) starter = size;
    (*marks)[size++] = mark;
  }
  marks->resize(size);
}

// Bytes of the characters that two different texts both begin with.
size_t CommonCharacters(std::string_view a, std::string_view b) {
  const auto differ = std::ranges::mismatch(a, b);
  size_t length = static_cast<size_t>(differ.in1 - a.begin());
  const auto inside = [&](std::string_view s) {
    return length < s.size() && (static_cast<unsigned char>(s[length]) & 0xC0) == 0x80;
  };
  while (inside(a) || inside(b)) --length;
  return length;
}

// Composes runs one after another into `result`, copying what lies between.
class Composer {
 public:
  explicit Composer(std::string_view source) : source_(source), tables_(Tables::Get()) {}

  void Run(size_t begin, size_t end) {
    marks_.clear();
    for (size_t i = begin; i < end;) {
      const Utf8Char c = DecodeUtf8(source_.substr(i));
      tables_.Decompose(c.code_point, &marks_);
      i += static_cast<size_t>(c.length_bytes);
    }
    Reorder(&marks_);
    Recompose(tables_, &marks_);
    composed_.clear();
    for (const Mark& mark : marks_) AppendUtf8(mark.code_point, &composed_);
    const std::string_view before = source_.substr(begin, end - begin);
    if (composed_ == before) return;
    // Characters that stay as they are belong to no edit, so that offsets into them stay exact.
    const size_t same = CommonCharacters(composed_, before);
    begin += same;
    composed_.erase(0, same);
    result_.text += source_.substr(copied_, begin - copied_);
    const auto at = static_cast<int64_t>(result_.text.size());
    result_.text += composed_;
    result_.edits.push_back({at, static_cast<int64_t>(result_.text.size()),
                             static_cast<int64_t>(begin), static_cast<int64_t>(end)});
    copied_ = end;
  }

  std::optional<EditedText> Finish() {
    if (result_.edits.empty()) return std::nullopt;
    result_.text += source_.substr(copied_);
    return std::move(result_);
  }

 private:
  std::string_view source_;
  const Tables& tables_;
  size_t copied_ = 0;
  EditedText result_;
  std::vector<Mark> marks_;
  std::string composed_;
};

}  // namespace

std::optional<EditedText> ComposeNfc(std::string_view text) {
  const Tables& tables = Tables::Get();
  Composer composer(text);
  size_t run_begin = 0;  // the last boundary
  bool in_run = false;   // an unsafe character has followed it
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // All below U+0300 is safe: one byte, or two with a lead byte below 0xCC.
    const Utf8Char c =
        byte < 0xCC ? Utf8Char{byte, byte < 0x80 ? 1 : 2, true} : DecodeUtf8(text.substr(i));
    if (byte >= 0xCC && tables.unsafe(c.code_point)) {
      in_run = true;
    } else {
      if (in_run) composer.Run(run_begin, i);
      run_begin = i;
      in_run = false;
    }
    i += static_cast<size_t>(c.length_bytes);
  }
  if (in_run) composer.Run(run_begin, text.size());
  return composer.Finish();
}

}  // namespace msa
