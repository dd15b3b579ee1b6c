#include "msa/engine/cite.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <unordered_set>

#include "msa/base/utf8.h"
#include "msa/engine/answer_kind.h"
#include "msa/text/passages.h"

namespace msa {
namespace {

// Below these, what the model said or was given is taken as unsupported. Chosen on the 30 questions
// of docs/quality.md: lower values let inventions through, higher ones refuse right answers in
// other words.
constexpr double kMinCoverage = 0.6;
constexpr double kMinRelevance = 0.5;

constexpr std::array kFunctionWords = {
    "a",        "about",   "above",  "after",   "all",      "also",      "am",   "an",
    "and",      "any",     "are",    "as",      "at",       "be",        "been", "before",
    "being",    "both",    "but",    "by",      "can",      "could",     "did",  "do",
    "does",     "doing",   "each",   "for",     "from",     "had",       "has",  "have",
    "he",       "her",     "here",   "him",     "his",      "how",       "i",    "if",
    "in",       "into",    "is",     "it",      "its",      "itself",    "just", "me",
    "more",     "most",    "my",     "no",      "nor",      "not",       "of",   "on",
    "only",     "or",      "other",  "our",     "out",      "over",      "own",  "same",
    "she",      "should",  "so",     "some",    "such",     "than",      "that", "the",
    "their",    "them",    "then",   "there",   "these",    "they",      "this", "those",
    "through",  "to",      "too",    "under",   "up",       "very",      "was",  "we",
    "were",     "what",    "when",   "where",   "which",    "while",     "who",  "whom",
    "whose",    "why",     "will",   "with",    "would",    "you",       "your", "according",
    "may",      "might",   "must",   "shall",   "document", "documents", "text", "context",
    "provided", "passage", "answer", "question"};

bool IsFunctionWord(const std::string& word) {
  static const std::unordered_set<std::string_view> words(kFunctionWords.begin(),
                                                          kFunctionWords.end());
  return words.contains(word);
}

bool IsNumber(std::string_view term) {
  return std::any_of(term.begin(), term.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Scripts written without spaces, whose words cannot be told apart by spaces.
bool IsUnspaced(char32_t c) {
  return (c >= 0x0e00 && c <= 0x0eff) || (c >= 0x1000 && c <= 0x109f) ||
         (c >= 0x1780 && c <= 0x17ff) || (c >= 0x3040 && c <= 0x30ff) ||
         (c >= 0x3400 && c <= 0x9fff) || (c >= 0x20000 && c <= 0x3ffff);
}

bool IsWordCharacter(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return c >= 0xc0 && c != 0xd7 && c != 0xf7 && !(c >= 0x2000 && c <= 0x2bff) &&
         !(c >= 0x3000 && c <= 0x303f) && !(c >= 0xff00 && c <= 0xff0f);
}

// The commonest irregular verbs: "took place" answers where something "takes place". Sorted.
struct IrregularForm {
  std::string_view form;
  std::string_view verb;
};
constexpr IrregularForm kIrregularForms[] = {
    {"began", "begin"},   {"begun", "begin"},   {"bought", "buy"},   {"broke", "break"},
    {"broken", "break"},  {"brought", "bring"}, {"built", "build"},  {"came", "come"},
    {"chose", "choose"},  {"chosen", "choose"}, {"drawn", "draw"},   {"drew", "draw"},
    {"fallen", "fall"},   {"fell", "fall"},     {"found", "find"},   {"gave", "give"},
    {"given", "give"},    {"gone", "go"},       {"grew", "grow"},    {"grown", "grow"},
    {"held", "hold"},     {"kept", "keep"},     {"knew", "know"},    {"known", "know"},
    {"led", "lead"},      {"left", "leave"},    {"lost", "lose"},    {"made", "make"},
    {"meant", "mean"},    {"met", "meet"},      {"paid", "pay"},     {"ran", "run"},
    {"said", "say"},      {"saw", "see"},       {"seen", "see"},     {"sent", "send"},
    {"sold", "sell"},     {"spent", "spend"},   {"spoke", "speak"},  {"spoken", "speak"},
    {"stood", "stand"},   {"taken", "take"},    {"taught", "teach"}, {"thought", "think"},
    {"told", "tell"},     {"took", "take"},     {"went", "go"},      {"won", "win"},
    {"written", "write"}, {"wrote", "write"}};
static_assert(std::ranges::is_sorted(kIrregularForms, {}, &IrregularForm::form));

std::string Infinitive(std::string word) {
  const auto form = std::ranges::lower_bound(kIrregularForms, word, {}, &IrregularForm::form);
  return form != std::end(kIrregularForms) && form->form == word ? std::string(form->verb) : word;
}

bool IsWordByte(char c) { return IsWordCharacter(static_cast<unsigned char>(c)); }

// Cuts the commonest English endings, so that "installs", "installed" and "installing" compare
// equal. Cruder than the index's Porter stemmer on purpose: both sides here are short, and a wrong
// merge costs little.
std::string Stem(std::string word) {
  if (IsNumber(word)) return word;
  const auto cut = [&](std::string_view ending, size_t keep) {
    if (word.size() < ending.size() + keep || !word.ends_with(ending)) return false;
    word.resize(word.size() - ending.size());
    return true;
  };
  if (word.ends_with("ies") && word.size() > 4) {
    word.replace(word.size() - 3, 3, "y");
  } else if (!word.ends_with("ss") && !word.ends_with("us")) {
    cut("s", 3);
  }
  if (!cut("ing", 3) && !cut("ed", 3)) cut("ly", 4);
  if (word.size() > 3 && word.back() == 'e') word.pop_back();
  return word;
}

// "2.9. AUTHOR . . . . . . 7": a line of a table of contents, which points to text and is none.
bool IsLeaderLine(std::string_view sentence) {
  const auto count = [&](auto is_counted) {
    return std::count_if(sentence.begin(), sentence.end(), is_counted);
  };
  const auto dots = count([](char c) { return c == '.'; });
  return dots >= 8 && 3 * dots > count([](char c) { return c != ' ' && c != '\n'; });
}

void SortUnique(std::vector<std::string>* terms) {
  std::sort(terms->begin(), terms->end());
  terms->erase(std::unique(terms->begin(), terms->end()), terms->end());
}

// Terms of a text that may hold the answer, sorted. There "Debconf0" is a Debconf too; in a
// question or answer it is only itself.
std::vector<std::string> TextTerms(std::string_view text) {
  constexpr size_t kShortestName = 3;
  std::vector<std::string> terms = ContentTerms(text);
  for (size_t i = 0, count = terms.size(); i < count; ++i) {
    const std::string name = terms[i].substr(0, terms[i].find_last_not_of("0123456789") + 1);
    if (name.size() >= kShortestName && name != terms[i] && !IsNumber(name)) terms.push_back(name);
  }
  SortUnique(&terms);
  return terms;
}

bool Holds(std::span<const std::string> sorted, const std::string& term) {
  return std::binary_search(sorted.begin(), sorted.end(), term);
}

}  // namespace

std::vector<std::string> ContentTerms(std::string_view text) {
  std::vector<std::string> terms;
  std::string word;
  std::string previous;  // the last character of an unspaced run
  const auto end_word = [&] {
    if (!word.empty() && !IsFunctionWord(word)) terms.push_back(Stem(Infinitive(std::move(word))));
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(i));
    const std::string_view bytes = text.substr(i, static_cast<size_t>(c.length_bytes));
    i += bytes.size();
    if (IsUnspaced(c.code_point)) {
      end_word();
      if (!previous.empty()) terms.push_back(previous + std::string(bytes));
      previous = bytes;
      continue;
    }
    previous.clear();
    if (IsWordCharacter(c.code_point)) {
      if (c.code_point >= 'A' && c.code_point <= 'Z') {
        word += static_cast<char>(c.code_point - 'A' + 'a');
      } else {
        word += bytes;
      }
      continue;
    }
    // 3.14, 12:30 and 1,000 are one number; a full stop ends anything else.
    const bool joins = (bytes == "." || bytes == ":" || bytes == ",") && !word.empty() &&
                       IsNumber(word) && i < text.size() && text[i] >= '0' && text[i] <= '9';
    if (joins) {
      if (bytes != ",") word += bytes;
    } else if (bytes == "_" && !word.empty() && i < text.size() && IsWordByte(text[i])) {
      word += bytes;  // APT_HOOK_SOCKET is a name of its own
    } else {
      end_word();
    }
  }
  end_word();
  return terms;
}

SupportFinder::SupportFinder(std::string_view question, std::span<const SourcePassage> sources) {
  question_terms_ = ContentTerms(WithoutAskedKind(question));
  SortUnique(&question_terms_);
  const AnswerKind kind = AskedFor(question);
  for (const SourcePassage& passage : sources) {
    Source source;
    source.title_terms = TextTerms(passage.title);
    source.passage_terms = TextTerms(passage.text);
    source.passage_terms.insert(source.passage_terms.end(), source.title_terms.begin(),
                                source.title_terms.end());
    SortUnique(&source.passage_terms);
    const std::vector<TextSpan> sentences = SplitSentences(passage.text);
    for (size_t first = 0; first < sentences.size(); ++first) {
      for (size_t last = first; last < std::min(first + 2, sentences.size()); ++last) {
        Span span{sentences[first].begin, sentences[last].end, {}};
        const std::string_view text = TextBetween(passage.text, span.begin, span.end);
        span.terms = TextTerms(text);
        span.holds_answer = HoldsAnswer(kind, text, question_terms_);
        span.is_leader = IsLeaderLine(text);
        if (last == first) source.sentences.push_back(span);
        source.spans.push_back(std::move(span));
      }
    }
    sources_.push_back(std::move(source));
  }
  question_weight_ = QuestionHeld(question_terms_);
  for (Source& source : sources_) {
    source.relevance =
        question_weight_ > 0 ? QuestionHeld(source.passage_terms) / question_weight_ : 1;
  }
}

double SupportFinder::Weight(const std::string& term) const {
  double holding = 0;
  for (const Source& source : sources_) holding += Holds(source.passage_terms, term) ? 1 : 0;
  const double rarity = std::log(1 + (static_cast<double>(sources_.size()) + 1) / (holding + 0.5));
  return IsNumber(term) ? 2 * rarity : rarity;
}

double SupportFinder::Coverage(std::span<const std::string> terms, const Source& source,
                               const Span& span) const {
  double total = 0;
  double held = 0;
  for (const std::string& term : terms) {
    const bool in_span = Holds(span.terms, term) || Holds(source.title_terms, term);
    if (IsNumber(term) && !in_span && !Holds(question_terms_, term)) return 0;
    // What the question said already proves nothing, and the text may say it in other words: an
    // answer that says the question again is judged by what it adds.
    const double weight = Weight(term) * (Holds(question_terms_, term) ? 0.25 : 1);
    total += weight;
    if (in_span) held += weight;
  }
  return total > 0 ? held / total : 0;
}

double SupportFinder::QuestionHeld(std::span<const std::string> terms) const {
  double held = 0;
  for (const std::string& term : question_terms_) held += Holds(terms, term) ? Weight(term) : 0;
  return held;
}

std::span<const SupportFinder::Span> SupportFinder::Narrowed(std::span<const Span> stretch) const {
  const auto says_all = std::ranges::find_if(stretch, [&](const Span& sentence) {
    return sentence.holds_answer &&
           std::ranges::all_of(question_terms_, [&](const std::string& term) {
             return Holds(sentence.terms, term);
           });
  });
  return says_all == stretch.end() ? stretch : std::span(&*says_all, 1);
}

double SupportFinder::ExcerptScore(const Source& source, std::span<const Span> stretch,
                                   double rank_cost) const {
  std::vector<std::string> terms = source.title_terms;
  double in_one_sentence = 0;
  for (const Span& sentence : stretch) {
    terms.insert(terms.end(), sentence.terms.begin(), sentence.terms.end());
    in_one_sentence = std::max(in_one_sentence, QuestionHeld(sentence.terms));
  }
  SortUnique(&terms);
  const double held = QuestionHeld(terms);
  // Words of the kind that is asked for count like one more word of the question. That it stands
  // together in one sentence counts a little, against words scattered over three. The rank counts
  // as far as the words leave the question open.
  const bool holds_answer = std::ranges::any_of(stretch, &Span::holds_answer);
  const double word =
      question_weight_ / static_cast<double>(std::max<size_t>(question_terms_.size(), 1));
  const double open = question_weight_ > 0 ? 1 - held / question_weight_ : 0;
  return held + 0.25 * in_one_sentence + (holds_answer ? word : 0) - rank_cost * open;
}

std::vector<Support> SupportFinder::Excerpts(int64_t count, int64_t sentences,
                                             double rank_cost) const {
  struct Candidate {
    double score;
    Support excerpt;
  };
  std::vector<Candidate> candidates;
  for (size_t p = 0; p < sources_.size(); ++p) {
    const Source& source = sources_[p];
    for (size_t first = 0; first < source.sentences.size(); ++first) {
      const size_t last = std::min(first + static_cast<size_t>(sentences), source.sentences.size());
      const std::span<const Span> stretch =
          Narrowed(std::span(&source.sentences[first], last - first));
      if (std::ranges::any_of(stretch, &Span::is_leader)) continue;
      const int64_t begin = stretch.front().begin;
      const int64_t end = stretch.back().end;
      // Among equals the better passage, then the shorter stretch.
      const double score = ExcerptScore(source, stretch, rank_cost * static_cast<double>(p)) -
                           0.02 * static_cast<double>(p) - 5e-4 * static_cast<double>(end - begin);
      candidates.push_back({score, {static_cast<int64_t>(p), begin, end, 0, source.relevance}});
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  std::vector<Support> excerpts;
  for (const Candidate& candidate : candidates) {
    if (static_cast<int64_t>(excerpts.size()) == count) break;
    const auto overlaps = [&](const Support& other) {
      return other.passage == candidate.excerpt.passage && other.begin < candidate.excerpt.end &&
             candidate.excerpt.begin < other.end;
    };
    if (std::none_of(excerpts.begin(), excerpts.end(), overlaps)) {
      excerpts.push_back(candidate.excerpt);
    }
  }
  return excerpts;
}

std::vector<Support> SupportFinder::Find(std::string_view sentence) const {
  std::vector<std::string> terms = ContentTerms(sentence);
  SortUnique(&terms);
  // A sentence that only repeats the question says nothing that could be supported.
  const auto is_new = [&](const std::string& term) { return !Holds(question_terms_, term); };
  if (std::none_of(terms.begin(), terms.end(), is_new)) return {};
  struct Candidate {
    double score;
    Support support;
  };
  std::vector<Candidate> candidates;
  for (size_t p = 0; p < sources_.size(); ++p) {
    const Source& source = sources_[p];
    std::optional<Candidate> best;
    for (const Span& span : source.spans) {
      const double coverage = Coverage(terms, source, span);
      if (coverage < kMinCoverage) continue;
      // Among spans that hold the sentence, the one nearest the question; then the shorter; then
      // the better passage.
      const double score = coverage + 0.5 * source.relevance + 0.05 * QuestionHeld(span.terms) -
                           1e-4 * static_cast<double>(span.end - span.begin) -
                           1e-3 * static_cast<double>(p);
      if (best && score <= best->score) continue;
      best = {score,
              {static_cast<int64_t>(p), span.begin, span.end, coverage, source.relevance,
               source.relevance >= kMinRelevance}};
    }
    if (best) candidates.push_back(*best);
  }
  std::ranges::stable_sort(candidates, std::greater(), [](const Candidate& candidate) {
    return std::pair(candidate.support.is_about, candidate.score);
  });
  std::vector<Support> supports;
  for (const Candidate& candidate : candidates) supports.push_back(candidate.support);
  return supports;
}

}  // namespace msa
