// What the lexical index sees of a text.
//
// FTS5's unicode61 tokenizer splits at spaces and punctuation, which finds no words in scripts that
// write none: Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar. Their runs are broken up here, in
// documents and questions alike: documents into every character and every pair of neighbours,
// questions into pairs alone (a run of one character: that character). All other text passes
// unchanged.
#pragma once

#include <string>
#include <string_view>

namespace msa {

// A character of a script that is written without spaces between words.
bool IsUnspacedScript(char32_t code_point);

// Appends `text`, prepared for indexing, to `out`. Invalid UTF-8 becomes U+FFFD (a separator).
void AppendForIndex(std::string_view text, std::string* out);
// The same for a question.
std::string PrepareQuestion(std::string_view text);

// How every shard and every question is tokenised, as CREATE VIRTUAL TABLE's tokenize= takes it.
// Combining marks (Mn, Mc) belong to words: without them Hindi or Thai falls apart at each vowel
// sign.
inline constexpr std::string_view kTokenizerArguments[] = {
    "porter", "unicode61", "remove_diacritics", "2", "categories", "L* N* Co Mn Mc"};

}  // namespace msa
