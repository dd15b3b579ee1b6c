#include "msa/train/questions.h"

#include <algorithm>

#include "msa/base/check.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

constexpr size_t kMinSentenceTokens = 8;
constexpr size_t kMaxSentenceTokens = 60;
constexpr size_t kMinQuoteWords = 8;
constexpr size_t kMaxQuoteWords = 16;
constexpr size_t kMinAnswerWords = 6;
constexpr size_t kMaxAnswerWords = 16;
// Words are what white space separates: base64 or Chinese may make one of a whole passage.
constexpr size_t kMaxQuestionTokens = 100;
constexpr size_t kMaxAnswerTokens = 64;
constexpr size_t kMaxNameWords = 4;
constexpr size_t kMaxNumberBytes = 24;
constexpr std::string_view kBlank = "____";
// A word in lower case that is as long says what a sentence is about.
constexpr size_t kMinTopicBytes = 7;
constexpr size_t kMaxTopics = 3;
constexpr size_t kMaxMentionSentences = 3;
constexpr size_t kMaxMentionTokens = 90;
// A clause that asks has as many words besides what it asks for.
constexpr size_t kMinClauseWords = 5;
// What stands before and behind the words of which a sentence is asked for.
constexpr std::string_view kMentionWordings[][2] = {
    {"What is said about ", "?"},
    {"What does the text say about ", "?"},
    {"Tell me about ", "."},
    {"Which sentence speaks of ", "?"},
    {"", "?"},
};

size_t Below(QuestionRandom* random, size_t limit) {
  // Not std::uniform_int_distribution: its results differ between standard libraries.
  return static_cast<size_t>((*random)() % limit);
}

size_t Between(QuestionRandom* random, size_t least, size_t most) {
  return least + Below(random, most - least + 1);
}

struct Span {
  size_t begin;
  size_t end;
};

// What white space separates.
std::vector<Span> SplitAtSpace(std::string_view text) {
  std::vector<Span> words;
  for (size_t i = SkipSpace(text, 0); i < text.size(); i = SkipSpace(text, i)) {
    const size_t begin = i;
    while (i < text.size() && SpaceLength(text, i) == 0) ++i;
    words.push_back({begin, i});
  }
  return words;
}

std::string JoinWords(std::string_view text, std::span<const Span> words) {
  std::string joined;
  for (const Span& word : words) {
    if (!joined.empty()) joined += ' ';
    joined += text.substr(word.begin, word.end - word.begin);
  }
  return joined;
}

// With one space wherever there is white space, and none at the ends.
std::string WithSingleSpaces(std::string_view text) { return JoinWords(text, SplitAtSpace(text)); }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsPunctuation(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x80 && byte > ' ' && !IsDigit(c) && !IsLower(c) && !(c >= 'A' && c <= 'Z');
}

// A capital letter of ASCII or Latin-1 at the start.
bool StartsUpper(std::string_view word) {
  if (word.empty()) return false;
  if (word[0] >= 'A' && word[0] <= 'Z') return true;
  if (word.size() < 2 || word[0] != '\xc3') return false;
  const auto next = static_cast<unsigned char>(word[1]);
  return next >= 0x80 && next <= 0x9e && next != 0x97;
}

// Without ASCII punctuation at both ends.
Span Core(std::string_view text, Span word) {
  while (word.begin < word.end && IsPunctuation(text[word.begin])) ++word.begin;
  while (word.end > word.begin && IsPunctuation(text[word.end - 1])) --word.end;
  return word;
}

bool IsNumber(std::string_view word) {
  return word.size() <= kMaxNumberBytes && std::ranges::any_of(word, IsDigit);
}

// "Teixeira", "NASA", "Élan"; not "I" or "A".
bool IsName(std::string_view word) {
  return StartsUpper(word) && word.size() >= 2 && !word.starts_with("I'");
}

std::string_view At(std::string_view text, Span span) {
  return text.substr(span.begin, span.end - span.begin);
}

// The names and numbers of a sentence, which begins with a word that is none.
std::vector<Span> FindBlanks(std::string_view sentence) {
  const std::vector<Span> words = SplitAtSpace(sentence);
  std::vector<Span> blanks;
  size_t i = 1;
  while (i < words.size()) {
    const Span core = Core(sentence, words[i]);
    const char before = sentence[words[i - 1].end - 1];
    // Behind these a capital says nothing: a sentence or a title may begin.
    const bool fresh = before == '.' || before == '!' || before == '?' || before == ':' ||
                       core.begin != words[i].begin;
    if (core.begin == core.end) {
      ++i;
      continue;
    }
    if (IsNumber(At(sentence, core))) blanks.push_back(core);
    if (IsNumber(At(sentence, core)) || fresh || !IsName(At(sentence, core))) {
      ++i;
      continue;
    }
    // The name's other words, as long as nothing stands between.
    Span name = core;
    const size_t first = i++;
    while (i < words.size() && i < first + kMaxNameWords && name.end == words[i - 1].end) {
      const Span next = Core(sentence, words[i]);
      if (next.begin != words[i].begin || !IsName(At(sentence, next))) break;
      name.end = next.end;
      ++i;
    }
    blanks.push_back(name);
  }
  std::erase_if(blanks, [&](const Span& blank) {
    const std::string_view answer = At(sentence, blank);
    return sentence.find(answer) != blank.begin ||
           sentence.find(answer, blank.begin + 1) != sentence.npos;
  });
  return blanks;
}

// Words of a sentence of `text` that stand nowhere else in it, in their order. Not its first word:
// any word has a capital there.
std::vector<std::string_view> FindTopics(std::string_view text, std::string_view sentence) {
  std::vector<std::string_view> topics;
  const std::vector<Span> words = SplitAtSpace(sentence);
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string_view core = At(sentence, Core(sentence, words[i]));
    const bool topical = IsName(core) || IsNumber(core) ||
                         (core.size() >= kMinTopicBytes && std::ranges::all_of(core, IsLower));
    if (!topical) continue;
    const size_t first = text.find(core);
    if (text.find(core, first + 1) == text.npos) topics.push_back(core);
  }
  return topics;
}

// Prose has words in lower case; headings, tables and code are no sentences to fill in.
bool IsProse(std::string_view sentence) {
  constexpr int kMinLowerWords = 4;
  int lower = 0;
  for (const Span& word : SplitAtSpace(sentence)) lower += IsLower(sentence[word.begin]) ? 1 : 0;
  return lower >= kMinLowerWords;
}

std::string Replaced(std::string_view text, Span span, std::string_view by) {
  return std::string(text.substr(0, span.begin)) + std::string(by) +
         std::string(text.substr(span.end));
}

// "<title>: ", in half of the cases, or nothing.
std::string PerhapsTitle(const PassageText& passage, QuestionRandom* random) {
  const std::string_view title = Trim(std::string_view(passage.text).substr(0, passage.body));
  return !title.empty() && Below(random, 2) == 0 ? std::string(title) + ": " : std::string();
}

// What a question asks for where `answer` stood.
std::string_view QuestionWord(std::string_view answer) {
  if (!std::ranges::any_of(answer, IsDigit)) return "what";
  const bool year = answer.size() == 4 && std::ranges::all_of(answer, IsDigit) &&
                    (answer.starts_with("1") || answer.starts_with("20"));
  return year ? "what year" : "what number";
}

// The clause of the sentence that holds the blank, asking for it; empty where it would be too
// short.
std::string ClauseAsQuestion(const PassageText& passage, std::string_view sentence, Span blank,
                             QuestionRandom* random) {
  const auto ends_clause = [&](const Span& word) {
    const char last = sentence[word.end - 1];
    return last == ',' || last == ';' || last == ':';
  };
  const std::vector<Span> words = SplitAtSpace(sentence);
  size_t first = 0;
  size_t end = words.size();
  for (size_t i = 0; i < words.size(); ++i) {
    if (!ends_clause(words[i])) continue;
    if (words[i].end <= blank.begin) first = i + 1;
    if (words[i].end >= blank.end) end = std::min(end, i + 1);
  }
  const size_t answer_words = SplitAtSpace(At(sentence, blank)).size();
  if (end - first < kMinClauseWords + answer_words) return {};
  Span clause{words[first].begin, words[end - 1].end};
  while (clause.end > blank.end && IsPunctuation(sentence[clause.end - 1])) --clause.end;
  const Span inside{blank.begin - clause.begin, blank.end - clause.begin};
  const std::string asked =
      Replaced(At(sentence, clause), inside, QuestionWord(At(sentence, blank)));
  return PerhapsTitle(passage, random) + WithSingleSpaces(asked) + "?";
}

// Calls accept(i) for the sentences in turn, from a random one on, until it returns true.
template <class Accept>
void TrySentences(const PassageText& passage, QuestionRandom* random, const Accept& accept) {
  const size_t count = passage.sentences.size();
  if (count == 0) return;
  const size_t first = Below(random, count);
  for (size_t i = 0; i < count; ++i) {
    if (accept((first + i) % count)) return;
  }
}

// Two or three topics of sentences `first` to `last`, in their order: of several sentences one
// each. Fewer than two where a sentence has none.
std::vector<std::string_view> TopicsOf(const PassageText& passage, size_t first, size_t last,
                                       QuestionRandom* random) {
  std::vector<std::string_view> topics;
  for (size_t i = first; i <= last; ++i) {
    const std::string_view sentence = passage.Sentence(i);
    if (!IsProse(sentence)) return {};
    const std::vector<std::string_view> found = FindTopics(passage.Body(), sentence);
    const size_t wanted = first == last ? Between(random, 2, kMaxTopics) : 1;
    const size_t count = std::min(wanted, found.size());
    if (count == 0) return {};
    const size_t at = Below(random, found.size() - count + 1);
    const auto begin = found.begin() + static_cast<std::ptrdiff_t>(at);
    topics.insert(topics.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
  }
  return topics;
}

}  // namespace

int32_t PassageText::TokenAt(int64_t at) const {
  MSA_DCHECK(at >= 0 && at < token_begin.back());
  const auto after = std::ranges::upper_bound(token_begin, at);
  return static_cast<int32_t>(after - token_begin.begin()) - 1;
}

std::optional<MadeQuestion> MakeCut(const PassageText& passage, const Tokenizer& tokenizer,
                                    QuestionRandom* random) {
  constexpr size_t kMinSentences = 3;
  std::optional<MadeQuestion> made;
  if (passage.sentences.size() < kMinSentences) return made;
  TrySentences(passage, random, [&](size_t i) {
    const std::string_view sentence = passage.Sentence(i);
    std::vector<TokenId> tokens = tokenizer.Encode(sentence);
    if (tokens.size() < kMinSentenceTokens || tokens.size() > kMaxSentenceTokens) return false;
    const TextSpan& span = passage.sentences[i];
    made = {QuestionKind::kCut,
            std::string(sentence),
            std::move(tokens),
            {},
            {passage.TokenAt(span.begin), passage.TokenAt(span.end - 1) + 1}};
    return true;
  });
  return made;
}

std::optional<MadeQuestion> MakeQuotation(const PassageText& passage, const Tokenizer& tokenizer,
                                          QuestionRandom* random) {
  const std::string_view body = passage.Body();
  const std::vector<Span> words = SplitAtSpace(body);
  // Not from the first word: a passage's beginning is too easy to find.
  if (words.size() < 1 + kMinQuoteWords + kMinAnswerWords) return std::nullopt;
  const size_t room = words.size() - 1;
  const size_t quoted =
      std::min(Between(random, kMinQuoteWords, kMaxQuoteWords), room - kMinAnswerWords);
  const size_t answered =
      std::min(Between(random, kMinAnswerWords, kMaxAnswerWords), room - quoted);
  const size_t first = 1 + Below(random, room - quoted - answered + 1);
  const std::span<const Span> all(words);
  MadeQuestion made{QuestionKind::kQuotation};
  made.text = "Continue the quotation: \"" + JoinWords(body, all.subspan(first, quoted)) + "\"";
  made.question = tokenizer.Encode(made.text);
  made.answer = tokenizer.Encode(JoinWords(body, all.subspan(first + quoted, answered)));
  if (made.question.size() > kMaxQuestionTokens || made.answer.size() > kMaxAnswerTokens) {
    return std::nullopt;
  }
  return made;
}

std::optional<MadeQuestion> MakeBlank(const PassageText& passage, const Tokenizer& tokenizer,
                                      QuestionRandom* random) {
  std::optional<MadeQuestion> made;
  TrySentences(passage, random, [&](size_t i) {
    const std::string_view sentence = passage.Sentence(i);
    if (!IsProse(sentence)) return false;
    const std::vector<Span> blanks = FindBlanks(sentence);
    if (blanks.empty()) return false;
    const Span blank = blanks[Below(random, blanks.size())];
    MadeQuestion question{QuestionKind::kBlank};
    if (Below(random, 2) == 0) question.text = ClauseAsQuestion(passage, sentence, blank, random);
    if (question.text.empty()) {
      question.text = "Fill in the blank: " + WithSingleSpaces(Replaced(sentence, blank, kBlank));
    }
    question.question = tokenizer.Encode(question.text);
    if (question.question.size() < kMinSentenceTokens ||
        question.question.size() > kMaxSentenceTokens) {
      return false;
    }
    question.answer = tokenizer.Encode(At(sentence, blank));
    made = std::move(question);
    return true;
  });
  return made;
}

std::optional<MadeQuestion> MakeMention(const PassageText& passage, const Tokenizer& tokenizer,
                                        QuestionRandom* random) {
  std::optional<MadeQuestion> made;
  TrySentences(passage, random, [&](size_t i) {
    const bool several = Below(random, 2) == 1;
    const size_t more = Between(random, 1, kMaxMentionSentences - 1);
    const size_t last = several ? std::min(i + more, passage.sentences.size() - 1) : i;
    const std::vector<std::string_view> topics = TopicsOf(passage, i, last, random);
    if (topics.size() < 2) return false;
    const auto begin = static_cast<size_t>(passage.sentences[i].begin);
    const auto end = static_cast<size_t>(passage.sentences[last].end);
    const std::string_view said = At(passage.text, {begin, end});
    MadeQuestion question{QuestionKind::kMention};
    question.answer = tokenizer.Encode(WithSingleSpaces(said));
    if (question.answer.size() < kMinSentenceTokens || question.answer.size() > kMaxMentionTokens) {
      return false;
    }
    const auto& [before, behind] = kMentionWordings[Below(random, std::size(kMentionWordings))];
    question.text = PerhapsTitle(passage, random);
    question.text += before;
    for (size_t t = 0; t < topics.size(); ++t) {
      if (t > 0) question.text += t + 1 == topics.size() ? " and " : ", ";
      question.text += topics[t];
    }
    question.text += behind;
    question.question = tokenizer.Encode(question.text);
    if (question.question.size() > kMaxQuestionTokens) return false;
    made = std::move(question);
    return true;
  });
  return made;
}

}  // namespace msa
