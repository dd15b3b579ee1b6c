// Cuts a document into passages: at most W tokens each, title and all, ending at paragraph or
// sentence ends.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "msa/text/document.h"
#include "msa/text/tokenizer.h"

namespace msa {

struct PassageOptions {
  int64_t max_tokens = 256;       // W, title included
  int64_t max_title_tokens = 48;  // a longer title is cut; never more than W / 4
};

struct Passage {
  int64_t begin = 0;  // bytes into Document::text; passages are disjoint, ascending, and only white
                      // space lies between
  int64_t end = 0;
  int32_t page = 0;             // 1-based page of `begin`; 0 where there are no pages
  std::vector<TokenId> tokens;  // what the model encodes: title, newline, text
};

// Boundaries in order of preference: paragraph (blank line, heading), line that ends a sentence,
// sentence, line, word, token; the last one of the best kind. A boundary is taken only in the
// second half of a full passage, so that passages stay long. Never cuts inside a UTF-8 character.
// `tokens` is Encode(title + "\n" + text of the passage), and Encode(text) where the title is
// empty. Linear in the text; a document of 10^7 tokens works. REQUIRES: max_tokens >= 16.
std::vector<Passage> SplitPassages(const Document& document, const Tokenizer& tokenizer,
                                   const PassageOptions& options);

// [begin, end) byte spans of the sentences in `text`, ascending, without the white space around;
// for citations and passages. Together they hold all that is not white space. English rules with
// common abbreviations, CJK full stops. A line end is a boundary after headings, list items, table
// rows and lines of fenced code, and wherever the line was not merely wrapped. Linear.
struct TextSpan {
  int64_t begin;
  int64_t end;
};
std::vector<TextSpan> SplitSentences(std::string_view text);

}  // namespace msa
