#include "msa/text/passages.h"

#include <algorithm>
#include <string>

#include "msa/base/check.h"
#include "msa/text/boundaries.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

// The text is tokenised in slices to measure it. Large enough that their edges, where tokens may
// differ from the whole text's, do not matter; small enough that a word of megabytes (base64) does
// not become one input of the tokenizer's merging.
constexpr size_t kSliceBytes = 32 << 10;

// Measures text in tokens: positions only move forward.
class TokenRuler {
 public:
  TokenRuler(std::string_view text, const Tokenizer& tokenizer)
      : text_(text), tokenizer_(tokenizer) {}

  // The largest end such that text[begin, end) has about `budget` tokens. "About", because tokens
  // at the edges differ when the piece is encoded alone. `begin` never decreases.
  size_t Limit(size_t begin, int64_t budget) {
    if (measured_ < begin) measured_ = begin;
    for (;;) {
      // The first token that counts is the one that holds `begin`.
      const auto known = begins_.begin() + static_cast<ptrdiff_t>(first_);
      const auto next = std::upper_bound(known, begins_.end(), begin);
      if (next != known) first_ = static_cast<size_t>(next - begins_.begin()) - 1;
      const size_t last = first_ + static_cast<size_t>(budget);
      if (last < begins_.size()) return begins_[last];
      if (measured_ == text_.size()) return text_.size();
      MeasureSlice();
    }
  }

 private:
  void MeasureSlice() {
    begins_.erase(begins_.begin(), begins_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
    const size_t end = SliceEnd();
    const TokenizedText tokens =
        tokenizer_.EncodeWithOffsets(text_.substr(measured_, end - measured_));
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      begins_.push_back(measured_ + static_cast<size_t>(tokens.begin[i]));
    }
    measured_ = end;
  }

  size_t SliceEnd() const {
    if (text_.size() - measured_ <= kSliceBytes) return text_.size();
    const std::string_view slice = text_.substr(measured_, kSliceBytes);
    for (const char* separators : {"\n", " \t"}) {
      const size_t space = slice.find_last_of(separators);
      if (space != slice.npos && space > kSliceBytes / 2) return measured_ + space;
    }
    return AlignToCharacter(text_, measured_ + kSliceBytes);
  }

  const std::string_view text_;
  const Tokenizer& tokenizer_;
  size_t measured_ = 0;         // up to here tokens are known
  std::vector<size_t> begins_;  // of the tokens measured and not dropped yet
  size_t first_ = 0;            // before this one they are behind us
};

// The title as it stands before each passage, with its line end; cut to `max_tokens` at a
// character.
std::string TitleLine(std::string_view title, int64_t max_tokens, const Tokenizer& tokenizer) {
  const TokenizedText tokens = tokenizer.EncodeWithOffsets(title);
  if (static_cast<int64_t>(tokens.ids.size()) > max_tokens) {
    const auto end = static_cast<size_t>(tokens.begin[static_cast<size_t>(max_tokens)]);
    title = title.substr(0, AlignToCharacter(title, end));
  }
  title = Trim(title);
  return title.empty() ? std::string() : std::string(title) + "\n";
}

class Splitter {
 public:
  Splitter(const Document& document, const Tokenizer& tokenizer, const PassageOptions& options)
      : document_(document),
        text_(document.text),
        tokenizer_(tokenizer),
        max_tokens_(options.max_tokens),
        title_(TitleLine(document.title, std::min(options.max_title_tokens, options.max_tokens / 4),
                         tokenizer)),
        budget_(max_tokens_ - static_cast<int64_t>(tokenizer.Encode(title_).size())),
        ruler_(text_, tokenizer) {
    MSA_CHECK(budget_ >= kMinBudget);
  }

  std::vector<Passage> Split() {
    std::vector<Passage> passages;
    size_t begin = SkipSpace(text_, 0);
    // A short document is mostly one passage. Then it need not be measured, which halves the work.
    if (begin < text_.size() &&
        text_.size() - begin <= kShortBytesPerToken * static_cast<size_t>(budget_)) {
      Passage whole = MakePassage(begin, TrimEnd(text_, begin, text_.size()));
      if (Excess(whole) <= 0) return {std::move(whole)};
    }
    while (begin < text_.size()) {
      passages.push_back(Next(begin));
      begin = SkipSpace(text_, static_cast<size_t>(passages.back().end));
    }
    return passages;
  }

 private:
  // A byte-level tokenizer needs up to four tokens for one character.
  static constexpr int64_t kMinBudget = 4;
  // English has four to five bytes a token.
  static constexpr size_t kShortBytesPerToken = 4;

  Passage MakePassage(size_t begin, size_t end) const {
    return {static_cast<int64_t>(begin), static_cast<int64_t>(end), PageOf(begin),
            tokenizer_.Encode(title_ + std::string(text_.substr(begin, end - begin)))};
  }

  int64_t Excess(const Passage& passage) const {
    return static_cast<int64_t>(passage.tokens.size()) - max_tokens_;
  }

  Passage Next(size_t begin) {
    int64_t budget = budget_;
    size_t limit = ruler_.Limit(begin, budget);
    for (;;) {
      limit = std::max(limit, begin + 1);
      const size_t end = limit == text_.size() ? TrimEnd(text_, begin, limit)
                                               : ChooseBoundary(text_, begin, limit);
      Passage passage = MakePassage(begin, end);
      const int64_t excess = Excess(passage);
      if (excess <= 0) return passage;
      // Encoded alone it is longer than measured: rare, and a matter of a token or two.
      MSA_CHECK(limit > begin + 1);
      budget -= excess;
      limit = budget > 0 ? ruler_.Limit(begin, budget) : begin + (end - begin) / 2;
    }
  }

  int32_t PageOf(size_t offset) const {
    const auto& pages = document_.page_begin;
    const auto next = std::upper_bound(pages.begin(), pages.end(), static_cast<int64_t>(offset));
    return static_cast<int32_t>(next - pages.begin());
  }

  const Document& document_;
  const std::string_view text_;
  const Tokenizer& tokenizer_;
  const int64_t max_tokens_;
  const std::string title_;
  const int64_t budget_;  // tokens left for text
  TokenRuler ruler_;
};

}  // namespace

std::vector<Passage> SplitPassages(const Document& document, const Tokenizer& tokenizer,
                                   const PassageOptions& options) {
  MSA_CHECK(options.max_tokens >= 16 && options.max_title_tokens >= 0);
  return Splitter(document, tokenizer, options).Split();
}

}  // namespace msa
