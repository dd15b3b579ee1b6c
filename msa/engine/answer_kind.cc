#include "msa/engine/answer_kind.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "msa/base/utf8.h"
#include "msa/engine/cite.h"

namespace msa {
namespace {

bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
// Letters and digits of any script; of what is not ASCII, all but punctuation and symbols.
bool IsWordCharacter(char32_t c) {
  if (c < 0x80) {
    const char ascii = static_cast<char>(c);
    return IsUpper(ascii) || IsLower(ascii) || IsDigit(ascii);
  }
  return c >= 0xc0 && !(c >= 0x2000 && c <= 0x2bff) && !(c >= 0x3000 && c <= 0x303f);
}

struct Word {
  std::string_view text;
  bool begins = false;  // a line, a list item, or what follows a stop
};

std::vector<Word> Words(std::string_view text) {
  std::vector<Word> words;
  bool begins = true;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const auto length = static_cast<size_t>(c.length_bytes);
    if (!IsWordCharacter(c.code_point)) {
      inside = false;
      begins |= c.code_point >= 0x80 ||
                std::string_view(".!?:\n").find(text[i]) != std::string_view::npos;
    } else if (inside) {
      words.back().text = {words.back().text.data(), words.back().text.size() + length};
    } else {
      words.push_back({text.substr(i, length), begins});
      inside = true;
      begins = false;
    }
    i += length;
  }
  return words;
}

std::string Lower(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) c = IsUpper(c) ? static_cast<char>(c + ('a' - 'A')) : c;
  return lower;
}

template <size_t N>
bool IsOneOf(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Months and days are capitalised and name nobody.
bool LooksLikeName(std::string_view word) {
  constexpr std::array<std::string_view, 19> kDates = {
      "january",   "february",  "march",   "april",    "may",      "june",   "july",
      "august",    "september", "october", "november", "december", "monday", "tuesday",
      "wednesday", "thursday",  "friday",  "saturday", "sunday"};
  return word.size() >= 2 && IsUpper(word[0]) && !IsUpper(word[1]) && !IsDigit(word[1]) &&
         !IsOneOf(kDates, Lower(word));
}

bool IsCount(std::string_view word) {
  constexpr std::array<std::string_view, 12> kCounts = {"one",  "two", "three",  "four",
                                                        "five", "six", "seven",  "eight",
                                                        "nine", "ten", "eleven", "twelve"};
  return std::any_of(word.begin(), word.end(), IsDigit) || IsOneOf(kCounts, Lower(word));
}

constexpr std::array<std::string_view, 6> kPlaces = {"city",    "town",      "village",
                                                     "country", "continent", "place"};

// The words after "which" or "what" that say which point in time, or what place, is asked for.
std::vector<std::string_view> AskedKind(std::string_view question) {
  constexpr std::array<std::string_view, 6> kTimes = {"year",    "month", "day",
                                                      "century", "date",  "time"};
  constexpr std::array<std::string_view, 2> kJoins = {"and", "or"};
  std::vector<std::string_view> kind;
  bool asked = false;  // only such words since "which" or "what"
  for (const Word& word : Words(question)) {
    const std::string lower = Lower(word.text);
    const bool says_kind = IsOneOf(kTimes, lower) || IsOneOf(kPlaces, lower);
    asked = lower == "which" || lower == "what" || (asked && (says_kind || IsOneOf(kJoins, lower)));
    if (asked && says_kind) kind.push_back(word.text);
  }
  return kind;
}

}  // namespace

AnswerKind AskedFor(std::string_view question) {
  constexpr std::array<std::string_view, 4> kNames = {"who", "whom", "whose", "where"};
  constexpr std::array<std::string_view, 4> kNumbers = {"when", "year", "month", "date"};
  constexpr std::array<std::string_view, 6> kAfterHow = {"many", "much",  "long",
                                                         "old",  "large", "often"};
  for (const std::string_view word : AskedKind(question)) {
    if (IsOneOf(kPlaces, Lower(word))) return AnswerKind::kName;
  }
  std::string previous;
  for (const Word& word : Words(question)) {
    const std::string lower = Lower(word.text);
    if (IsOneOf(kNames, lower)) return AnswerKind::kName;
    if (IsOneOf(kNumbers, lower)) return AnswerKind::kNumber;
    if (previous == "how" && IsOneOf(kAfterHow, lower)) return AnswerKind::kNumber;
    previous = lower;
  }
  return AnswerKind::kAny;
}

std::string WithoutAskedKind(std::string_view question) {
  std::string rest;
  const char* kept = question.data();  // what comes before it is in `rest` or left out
  for (const std::string_view word : AskedKind(question)) {
    rest.append(kept, word.data());
    kept = word.data() + word.size();
  }
  return rest.append(kept, question.data() + question.size());
}

bool BeginsWithQuestionWord(std::string_view question) {
  constexpr std::array<std::string_view, 9> kQuestionWords = {
      "who", "whom", "whose", "what", "which", "when", "where", "why", "how"};
  const std::vector<Word> words = Words(question);
  return std::any_of(words.begin(), words.begin() + std::min<std::ptrdiff_t>(2, std::ssize(words)),
                     [&](const Word& word) { return IsOneOf(kQuestionWords, Lower(word.text)); });
}

bool HoldsAnswer(AnswerKind kind, std::string_view text,
                 std::span<const std::string> question_terms) {
  if (kind == AnswerKind::kAny) return true;
  // Function words have no terms, so "The Debian Project" is no name where Debian was asked about.
  const auto is_new = [&](std::string_view word) {
    const std::vector<std::string> terms = ContentTerms(word);
    return !terms.empty() &&
           !std::binary_search(question_terms.begin(), question_terms.end(), terms.front());
  };
  bool after_capital = false;
  for (const Word& word : Words(text)) {
    if (kind == AnswerKind::kNumber) {
      if (IsCount(word.text) && is_new(word.text)) return true;
      continue;
    }
    const bool capital = LooksLikeName(word.text) && is_new(word.text);
    if (capital && (!word.begins || after_capital)) return true;
    after_capital = capital;
  }
  return false;
}

}  // namespace msa
