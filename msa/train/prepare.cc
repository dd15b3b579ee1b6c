#include "msa/train/prepare.h"

#include <algorithm>
#include <utility>

#include "msa/base/utf8.h"
#include "msa/text/decode.h"
#include "msa/text/passages.h"

namespace msa {
namespace {

// The passages that a run of text [begin, end) touches, as a range of indices.
std::pair<size_t, size_t> Touched(std::span<const Passage> passages, int64_t begin, int64_t end) {
  const auto first = std::ranges::upper_bound(passages, begin, {}, &Passage::end);
  const auto last = std::ranges::lower_bound(passages, end, {}, &Passage::begin);
  return {static_cast<size_t>(first - passages.begin()),
          static_cast<size_t>(last - passages.begin())};
}

// Which passages share a gram with the evaluation sets: within the text, also across passages, and
// from the title into each passage.
std::vector<bool> FindOverlap(const EvaluationText& evaluation, std::string_view title,
                              const Words& words, std::span<const uint64_t> grams,
                              std::span<const Passage> passages) {
  std::vector<bool> shared(passages.size());
  if (evaluation.empty()) return shared;
  for (size_t i = 0; i < grams.size(); ++i) {
    if (!evaluation.HasGram(grams[i])) continue;
    const auto [first, last] = Touched(passages, words.begin[i], words.end[i + kGramWords - 1]);
    std::fill(shared.begin() + static_cast<ptrdiff_t>(first),
              shared.begin() + static_cast<ptrdiff_t>(last), true);
  }
  const std::vector<uint64_t> title_words = FindWords(title).hashes;
  for (size_t p = 0; p < passages.size() && !title_words.empty(); ++p) {
    const auto first =
        std::ranges::lower_bound(words.begin, passages[p].begin) - words.begin.begin();
    const auto last = std::ranges::upper_bound(words.end, passages[p].end) - words.end.begin();
    std::vector<uint64_t> run = title_words;
    const auto count = std::clamp<ptrdiff_t>(last - first, 0, kGramWords - 1);
    run.insert(run.end(), words.hashes.begin() + first, words.hashes.begin() + first + count);
    if (evaluation.HasAnyGram(run)) shared[p] = true;
  }
  return shared;
}

}  // namespace

Preparer::Preparer(const Tokenizer& tokenizer, const EvaluationText& evaluation,
                   const PrepareOptions& options)
    : tokenizer_(tokenizer), evaluation_(evaluation), options_(options) {
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    token_bytes_.push_back(
        static_cast<uint32_t>(tokenizer.Decode({&id, 1}, /*keep_special=*/true).size()));
  }
}

PassageText Preparer::Read(std::span<const TokenId> tokens, bool has_title) const {
  PassageText passage;
  passage.text = tokenizer_.Decode(tokens, /*keep_special=*/true);
  passage.token_begin.push_back(0);
  for (const TokenId id : tokens) {
    passage.token_begin.push_back(passage.token_begin.back() +
                                  token_bytes_[static_cast<size_t>(id)]);
  }
  MSA_CHECK(passage.token_begin.back() == static_cast<int64_t>(passage.text.size()));
  if (has_title) passage.body = passage.text.find('\n') + 1;  // no line end: npos + 1 is 0
  passage.sentences = SplitSentences(passage.Body());
  for (TextSpan& sentence : passage.sentences) {
    sentence.begin += static_cast<int64_t>(passage.body);
    sentence.end += static_cast<int64_t>(passage.body);
  }
  return passage;
}

void Preparer::MakeQuestions(const PassageText& text, uint64_t seed,
                             PreparedPassage* passage) const {
  QuestionRandom random(seed);
  const auto draw = [&](double share) {
    return static_cast<double>(random() >> 11) * 0x1p-53 < share;
  };
  const auto add = [&](std::optional<MadeQuestion> made) {
    if (!made || made->question.empty()) return;
    if (evaluation_.HasQuestion(TextHash(FindWords(made->text).hashes, made->text))) return;
    passage->questions.push_back(std::move(*made));
  };
  if (draw(options_.made.cut)) add(MakeCut(text, tokenizer_, &random));
  if (draw(options_.made.quote)) add(MakeQuotation(text, tokenizer_, &random));
  if (draw(options_.made.blank)) add(MakeBlank(text, tokenizer_, &random));
  if (draw(options_.made.mention)) add(MakeMention(text, tokenizer_, &random));
}

PreparedDocument Preparer::Prepare(std::string_view title, std::string_view text,
                                   bool make_questions) const {
  const Document document{.title = CleanTitle(title), .text = ReplaceInvalidUtf8(text)};
  const std::vector<Passage> passages =
      SplitPassages(document, tokenizer_, {.max_tokens = options_.passage_tokens});
  const Words words = FindWords(document.text);
  const std::vector<uint64_t> grams = GramHashes(words.hashes);
  const std::vector<bool> shared = FindOverlap(evaluation_, document.title, words, grams, passages);
  const uint64_t seed = MixBits(options_.seed, TextHash(words.hashes, document.text));

  PreparedDocument prepared;
  std::vector<int32_t> kept(passages.size(), -1);  // the passage's number among those kept
  for (size_t p = 0; p < passages.size(); ++p) {
    if (shared[p]) {
      ++prepared.dropped_overlap;
      continue;
    }
    kept[p] = static_cast<int32_t>(prepared.passages.size());
    PreparedPassage& passage = prepared.passages.emplace_back();
    passage.passage.tokens = passages[p].tokens;
    passage.passage.continues = p > 0 && kept[p - 1] >= 0;
    const PassageText read = Read(passages[p].tokens, !document.title.empty());
    passage.passage.sentence_start.resize(passages[p].tokens.size());
    for (const TextSpan& sentence : read.sentences) {
      passage.passage.sentence_start[static_cast<size_t>(read.TokenAt(sentence.begin))] = 1;
    }
    passage.words = FindWords(read.text).hashes;
    std::ranges::sort(passage.words);
    passage.words.erase(std::ranges::unique(passage.words).begin(), passage.words.end());
    if (make_questions) MakeQuestions(read, MixBits(seed, p), &passage);
  }
  for (size_t i = 0; i < grams.size(); ++i) {
    if (!SeenDocuments::IsSampled(grams[i])) continue;
    const size_t p = Touched(passages, words.begin[i], words.end[i]).first;
    if (p < passages.size() && kept[p] >= 0) prepared.grams.push_back({grams[i], kept[p]});
  }
  return prepared;
}

}  // namespace msa
