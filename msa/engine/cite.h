// Citations are found by us, not trusted to the model: a sentence of the answer is supported by the
// span of a read passage that holds its words, the rare ones above all, in a passage that is about
// what was asked.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace msa {

// Words of `text` for comparison: case-folded (ASCII), English endings cut, irregular verbs in
// their plain form, function words left out, runs of unspaced scripts as character pairs. In order,
// with repetitions.
std::vector<std::string> ContentTerms(std::string_view text);

struct SourcePassage {
  std::string_view title;
  std::string_view text;
};

struct Support {
  int64_t passage = 0;  // index into the sources
  int64_t begin = 0;    // bytes into that passage's text
  int64_t end = 0;
  double coverage =
      0;  // share of the sentence's term weight that the span (and title) holds, 0 to 1
  double relevance = 0;   // share of the question's term weight that the passage holds, 0 to 1
  bool is_about = false;  // by its words the passage is about the question
};

// Weighs terms by how few of the sources hold them, then finds support for sentences. Copies
// nothing of the sources: they must outlive it.
class SupportFinder {
 public:
  SupportFinder(std::string_view question, std::span<const SourcePassage> sources);

  // The spans that support one sentence of the answer, the best of each passage: those in passages
  // that are about the question first, then the best. A span must hold enough of the sentence, and
  // a number of the sentence must stand in the span or in the question.
  std::vector<Support> Find(std::string_view sentence) const;

  // The `count` stretches of `sentences` neighbouring sentences that hold most of the question's
  // term weight, best first, no two overlapping; words of the kind that is asked for (AnswerKind)
  // count too, and lines of a table of contents are left out. A small model answers better from
  // three such sentences than from the passages around them. `rank_cost` is the weight that a
  // stretch with none of the question's words loses for each source before its own (one with all of
  // them loses nothing): sources are in order, the best first.
  std::vector<Support> Excerpts(int64_t count, int64_t sentences, double rank_cost) const;

 private:
  struct Span {
    int64_t begin;
    int64_t end;
    std::vector<std::string> terms;  // sorted, unique
    bool holds_answer = false;       // words of the kind that the question asks for
    bool is_leader = false;          // a line of a table of contents
  };
  struct Source {
    std::vector<std::string> title_terms;    // sorted, unique
    std::vector<std::string> passage_terms;  // sorted, unique; title too
    std::vector<Span> sentences;             // in order
    std::vector<Span> spans;                 // sentences, and pairs of neighbours
    double relevance = 0;
  };

  double Weight(const std::string& term) const;
  // The weight of the question's terms that are among `terms`, sorted.
  double QuestionHeld(std::span<const std::string> terms) const;
  // The one sentence that holds every word of the question and may hold the answer, if there is
  // one: beside "The code of B is 2." a small model answers with it what was asked of A. Else all.
  std::span<const Span> Narrowed(std::span<const Span> stretch) const;
  double ExcerptScore(const Source& source, std::span<const Span> stretch, double rank_cost) const;
  double Coverage(std::span<const std::string> terms, const Source& source, const Span& span) const;

  std::vector<std::string> question_terms_;
  double question_weight_ = 0;  // of all its terms
  std::vector<Source> sources_;
};

}  // namespace msa
