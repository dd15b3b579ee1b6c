// What kind of words a question asks for, as far as its question words tell: "who" asks for a name,
// "when" for a number. English only; any other question asks for kAny, which every text holds. A
// hint for choosing among stretches of text, never a reason to refuse one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace msa {

enum class AnswerKind { kAny, kName, kNumber };

AnswerKind AskedFor(std::string_view question);

// `question` without the words that only say which point in time or what place is asked for, as
// "month" and "year" in "In which month and year was it?": what answers names it without them.
std::string WithoutAskedKind(std::string_view question);

// Whether the question word comes first ("Who …") or after one word ("By whom …", "In which year
// …"): an answer that begins alike repeats the question.
bool BeginsWithQuestionWord(std::string_view question);

// Whether `text` holds words of that kind that the question has not said. A name is a capitalised
// word that does not begin a sentence or line, or two in a row, and no month or day; a number is
// written in digits, or is a word from one to twelve.
//   question_terms   ContentTerms of the question, sorted
bool HoldsAnswer(AnswerKind kind, std::string_view text,
                 std::span<const std::string> question_terms);

}  // namespace msa
