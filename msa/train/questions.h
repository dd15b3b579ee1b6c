// Questions made from a passage itself, so that training asks what a document says even where
// nobody wrote a question: a sentence of it, a quotation to continue, a name or number to fill in,
// what it says of something.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/text/passages.h"
#include "msa/text/tokenizer.h"
#include "msa/train/pack.h"

namespace msa {

// Shares of a corpus's passages that get a question of each kind.
struct MadeShares {
  double cut = 0.5;
  double quote = 0.25;
  double blank = 0.25;
  double mention = 0.25;
};

// A passage as its tokens read. `text` is their bytes; the title and its line end come first.
struct PassageText {
  std::string text;
  size_t body = 0;                   // where the title has ended
  std::vector<TextSpan> sentences;   // of the body, bytes into `text`
  std::vector<int64_t> token_begin;  // bytes into `text`, one entry more than tokens

  std::string_view Body() const { return std::string_view(text).substr(body); }
  std::string_view Sentence(size_t i) const {
    return std::string_view(text).substr(
        static_cast<size_t>(sentences[i].begin),
        static_cast<size_t>(sentences[i].end - sentences[i].begin));
  }
  // The token that holds byte `at`. REQUIRES: at is in the text.
  int32_t TokenAt(int64_t at) const;
};

struct MadeQuestion {
  QuestionKind kind;
  std::string text;
  std::vector<TokenId> question;
  std::vector<TokenId> answer;
  Pack::Range span = {0, 0};
};

using QuestionRandom = std::mt19937_64;

// One sentence of 8 to 60 tokens from a passage of at least three; its span is where the passage
// holds it.
std::optional<MadeQuestion> MakeCut(const PassageText& passage, const Tokenizer& tokenizer,
                                    QuestionRandom* random);
// `Continue the quotation: "<8 to 16 words from inside the passage>"`, answered by the next 6 to
// 16.
std::optional<MadeQuestion> MakeQuotation(const PassageText& passage, const Tokenizer& tokenizer,
                                          QuestionRandom* random);
// A sentence with a name or number left out, answered by what was there: `Fill in the blank: <the
// sentence with ____>`, or what stands between two commas as a question, `Debian was founded by
// what in 1993?`, perhaps behind the document's title.
std::optional<MadeQuestion> MakeBlank(const PassageText& passage, const Tokenizer& tokenizer,
                                      QuestionRandom* random);
// `What is said about A and B?` in one of several wordings, perhaps behind the document's title:
// words that the passage holds once, in up to three sentences on end; answered by these.
std::optional<MadeQuestion> MakeMention(const PassageText& passage, const Tokenizer& tokenizer,
                                        QuestionRandom* random);

}  // namespace msa
