#include "msa/train/build_pack.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <unordered_set>
#include <utility>

#include "msa/base/function_ref.h"
#include "msa/base/threads.h"
#include "msa/text/row_reader.h"
#include "msa/text/whitespace.h"
#include "msa/train/dedupe.h"
#include "msa/train/pack_writer.h"
#include "msa/train/prepare.h"
#include "msa/train/rows.h"
#include "msa/train/vocabulary.h"
#include "msa/train/words.h"

namespace msa {
namespace {

// Rows are taken in batches of this many bytes of JSON. What a batch becomes in memory is some ten
// times that. Of a limited source in small ones, so that it is not far exceeded.
constexpr size_t kBatchBytes = 8 << 20;
constexpr size_t kLimitedBatchBytes = 64 << 10;

// A document of which more was seen is a duplicate.
constexpr double kMaxSeen = 0.5;
// The text of a pair of which one document has as much is that document. Stricter, since a part
// that is missing may be the one that answers.
constexpr double kSameText = 0.8;

struct Line {
  std::string text;
  std::string place;  // "FILE, line 12"
};

// How rare words are: in how many passages they stand. Words that share a slot share a count.
class WordCounts {
 public:
  void Add(std::span<const uint64_t> distinct_words) {
    for (const uint64_t word : distinct_words) ++counts_[word % counts_.size()];
    ++passages_;
  }
  double Weight(uint64_t word) const {
    return std::log((passages_ + 1.0) / (counts_[word % counts_.size()] + 1.0));
  }

 private:
  std::vector<uint32_t> counts_ = std::vector<uint32_t>(1 << 20);
  double passages_ = 0;
};

struct CorpusWork {
  Status status;
  CorpusRow row;
  uint64_t hash = 0;
  bool duplicate = false;
  PreparedDocument prepared;
};

// A text of a pair, to be found in the pack or put into it.
struct PairText {
  std::string title;
  std::string_view text;
  uint64_t hash = 0;
  bool overlap = false;
};

struct PairWork {
  Status status;
  PairRow row;
  std::vector<uint64_t> question_words;
  std::vector<uint64_t> answer_words;
  uint64_t question_hash = 0;
  std::vector<PairText> positives;
  std::vector<PairText> negatives;
  bool overlap = false;
  PackQuestion question;
};

// The title, unless the text begins with it anyway.
std::string TitleBefore(const std::string& title, std::span<const uint64_t> text_words) {
  const std::vector<uint64_t> words = FindWords(title).hashes;
  const bool repeated = words.size() <= text_words.size() &&
                        std::equal(words.begin(), words.end(), text_words.begin());
  return repeated ? std::string() : title;
}

class Builder {
 public:
  Builder(const Tokenizer& tokenizer, const PackOptions& options)
      : tokenizer_(tokenizer),
        options_(options),
        writer_(tokenizer.vocab_size(), VocabularyFingerprint(tokenizer), options.passage_tokens),
        threads_(options.num_threads),
        progress_("packing", "bytes", 0, options.progress) {}

  Result<PackReport> Build() {
    MSA_RETURN_IF_ERROR(CheckOptions());
    for (const std::string& folder : options_.evaluation) {
      MSA_RETURN_IF_ERROR(evaluation_.AddFolder(folder));
    }
    preparer_.emplace(tokenizer_, evaluation_,
                      PrepareOptions{options_.passage_tokens, options_.seed, options_.made});
    for (const std::string& path : options_.corpora) {
      StartSource(path, "corpus");
      MSA_RETURN_IF_ERROR(
          ReadBatches(path, [&](std::span<const Line> lines) { return AddCorpus(lines); }));
    }
    for (const std::string& path : options_.pairs) {
      StartSource(path, "pairs");
      MSA_RETURN_IF_ERROR(
          ReadBatches(path, [&](std::span<const Line> lines) { return AddPairs(lines); }));
    }
    progress_.Finish();
    MSA_RETURN_IF_ERROR(writer_.Write(options_.out, report_.sources, OptionsJson()));
    report_.passages = writer_.num_passages();
    report_.documents = writer_.num_documents();
    report_.tokens = writer_.num_tokens();
    report_.questions = writer_.num_questions();
    report_.question_tokens = writer_.num_question_tokens();
    return std::move(report_);
  }

 private:
  Status CheckOptions() {
    if (options_.passage_tokens < 16) return InvalidArgument("passages need 16 tokens or more");
    const MadeShares& made = options_.made;
    for (const double share : {made.cut, made.quote, made.blank, made.mention}) {
      if (!(share >= 0 && share <= 1)) return InvalidArgument("a share must be from 0 to 1");
    }
    std::vector<std::string> names;
    int64_t bytes = 0;
    for (const auto* paths : {&options_.corpora, &options_.pairs}) {
      for (const std::string& path : *paths) {
        if (std::ranges::find(names, SourceName(path)) != names.end()) {
          return InvalidArgument(path + ": there is a source " + SourceName(path) + " already");
        }
        names.push_back(SourceName(path));
        std::error_code error;
        const auto size = std::filesystem::file_size(path, error);
        if (!error) bytes += static_cast<int64_t>(size);
      }
    }
    if (names.empty()) return InvalidArgument("nothing to pack: give --corpus or --pairs");
    for (const auto& [name, limit] : options_.limit_tokens) {
      if (std::ranges::find(names, name) == names.end()) {
        return InvalidArgument("--limit-tokens " + name + ": there is no source of that name");
      }
      if (limit < 1) return InvalidArgument("--limit-tokens " + name + ": not a positive number");
    }
    progress_.SetTotal(bytes);
    return OkStatus();
  }

  std::string OptionsJson() const {
    return nlohmann::ordered_json{{"seed", options_.seed},
                                  {"cut", options_.made.cut},
                                  {"quote", options_.made.quote},
                                  {"blank", options_.made.blank},
                                  {"mention", options_.made.mention}}
        .dump();
  }

  void StartSource(const std::string& path, const char* kind) {
    report_.sources.push_back({.name = SourceName(path), .kind = kind});
    const auto limit = options_.limit_tokens.find(SourceName(path));
    limit_ = limit == options_.limit_tokens.end() ? INT64_MAX : limit->second;
  }
  PackSource& source() { return report_.sources.back(); }
  int32_t source_index() const { return static_cast<int32_t>(report_.sources.size()) - 1; }
  bool LimitReached() { return source().tokens >= limit_; }

  // The rows of a file, in its order; of a limited source in a random one, until it has its tokens.
  Status ReadBatches(const std::string& path, FunctionRef<Status(std::span<const Line>)> on_batch) {
    MSA_ASSIGN_OR_RETURN(RowReader reader, RowReader::Open(path));
    const bool limited = limit_ != INT64_MAX;
    std::vector<Line> lines;
    size_t bytes = 0;
    int64_t counted = 0;
    const auto flush = [&]() -> Status {
      MSA_RETURN_IF_ERROR(CheckCancelled());
      MSA_RETURN_IF_ERROR(on_batch(lines));
      lines.clear();
      bytes = 0;
      return OkStatus();
    };
    for (Line line;;) {
      MSA_ASSIGN_OR_RETURN(const bool more, reader.Next(&line.text));
      progress_.Add(reader.bytes_read() - counted);
      counted = reader.bytes_read();
      if (!more) break;
      line.place = reader.place();
      bytes += line.text.size();
      lines.push_back(std::move(line));
      if (!limited && bytes >= kBatchBytes) MSA_RETURN_IF_ERROR(flush());
    }
    source().sha256 = reader.Sha256Hex();
    return limited ? AddShuffled(std::move(lines), on_batch) : flush();
  }

  Status AddShuffled(std::vector<Line> lines, FunctionRef<Status(std::span<const Line>)> on_batch) {
    std::mt19937_64 random(MixBits(options_.seed, TextHash({}, source().name)));
    // Not std::shuffle: its results differ between standard libraries.
    for (size_t i = lines.size(); i > 1; --i) std::swap(lines[i - 1], lines[random() % i]);
    for (size_t begin = 0; begin < lines.size() && !LimitReached();) {
      size_t end = begin;
      for (size_t bytes = 0; end < lines.size() && bytes < kLimitedBatchBytes; ++end) {
        bytes += lines[end].text.size();
      }
      MSA_RETURN_IF_ERROR(CheckCancelled());
      MSA_RETURN_IF_ERROR(on_batch(std::span(lines).subspan(begin, end - begin)));
      begin = end;
    }
    return OkStatus();
  }

  Status CheckCancelled() const {
    if (options_.cancelled == nullptr || !*options_.cancelled) return OkStatus();
    return Cancelled("interrupted; " + options_.out + " was not written");
  }

  // Calls f(i) for i below `count` on all threads.
  template <class F>
  void ForEach(size_t count, const F& f) {
    threads_.ParallelFor(static_cast<int64_t>(count), 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) f(static_cast<size_t>(i));
    });
  }

  template <class Work>
  static Status FirstError(std::span<const Line> lines, const std::vector<Work>& works) {
    for (size_t i = 0; i < works.size(); ++i) {
      if (!works[i].status.ok()) return works[i].status.WithContext(lines[i].place);
    }
    return OkStatus();
  }

  // --- corpora ---

  Status AddCorpus(std::span<const Line> lines) {
    std::vector<CorpusWork> works(lines.size());
    ForEach(works.size(), [&](size_t i) {
      auto row = ParseCorpusRow(lines[i].text);
      works[i].status = row.status();
      if (!row.ok()) return;
      works[i].row = std::move(*row);
      works[i].hash = TextHash(FindWords(works[i].row.text).hashes, works[i].row.text);
    });
    MSA_RETURN_IF_ERROR(FirstError(lines, works));
    std::unordered_set<uint64_t> claimed;  // by this batch
    for (CorpusWork& work : works) {
      work.duplicate = seen_.FindEqual(work.hash).has_value() || !claimed.insert(work.hash).second;
    }
    ForEach(works.size(), [&](size_t i) {
      if (works[i].duplicate) return;
      works[i].prepared = preparer_->Prepare(works[i].row.title, works[i].row.text, true);
    });
    for (CorpusWork& work : works) {
      if (LimitReached()) break;
      ++source().rows;
      if (work.duplicate || Compare(work.prepared).seen > kMaxSeen) {
        ++source().dropped_duplicates;
        continue;
      }
      source().dropped_overlap += work.prepared.dropped_overlap;
      AddDocument(work.hash, std::move(work.prepared));
    }
    return OkStatus();
  }

  SeenDocuments::Overlap Compare(const PreparedDocument& document) const {
    return seen_.Compare(document.grams,
                         [&](int32_t passage) { return writer_.Document(passage); });
  }

  void AddDocument(uint64_t hash, PreparedDocument document) {
    if (document.passages.empty()) return;
    const PassageRange range{static_cast<int32_t>(writer_.num_passages()),
                             static_cast<int32_t>(document.passages.size())};
    for (PreparedPassage& prepared : document.passages) {
      prepared.passage.source = source_index();
      const int32_t passage = writer_.AddPassage(prepared.passage);
      word_counts_.Add(prepared.words);
      ++source().passages;
      source().tokens += static_cast<int64_t>(prepared.passage.tokens.size());
      for (MadeQuestion& made : prepared.questions) {
        AddQuestion({.kind = made.kind,
                     .question = std::move(made.question),
                     .answer = std::move(made.answer),
                     .span = made.span,
                     .positives = {passage}});
      }
    }
    seen_.AddText(hash, range);
    seen_.AddGrams(document.grams, range.first);
  }

  void AddQuestion(PackQuestion question) {
    question.source = source_index();
    ++source().questions;
    ++report_.questions_by_kind[static_cast<size_t>(question.kind)];
    writer_.AddQuestion(question);
  }

  // --- pairs ---

  Status AddPairs(std::span<const Line> lines) {
    std::vector<PairWork> works(lines.size());
    ForEach(works.size(), [&](size_t i) { works[i] = ReadPair(lines[i].text); });
    MSA_RETURN_IF_ERROR(FirstError(lines, works));
    AddPairTexts(works);
    ForEach(works.size(), [&](size_t i) { ChoosePassages(&works[i]); });
    for (PairWork& work : works) {
      ++source().rows;
      if (work.overlap) {
        ++source().dropped_overlap;
        continue;
      }
      const uint64_t key =
          MixBits(work.question_hash, static_cast<uint64_t>(work.question.positives.front()));
      if (!asked_.insert(key).second) {
        ++source().dropped_duplicates;
        continue;
      }
      AddQuestion(std::move(work.question));
    }
    return OkStatus();
  }

  PairWork ReadPair(const std::string& line) const {
    PairWork work;
    auto row = ParsePairRow(line);
    work.status = row.status();
    if (!row.ok()) return work;
    work.row = std::move(*row);
    const std::string_view query = Trim(work.row.query);
    const std::string_view answer = Trim(work.row.answer);
    work.question_words = FindWords(query).hashes;
    work.answer_words = FindWords(answer).hashes;
    work.question_hash = TextHash(work.question_words, query);
    work.question.kind = work.row.standalone ? QuestionKind::kStandalone : QuestionKind::kInContext;
    work.question.question = tokenizer_.Encode(query);
    work.question.answer = tokenizer_.Encode(answer);
    work.overlap = evaluation_.HasQuestion(work.question_hash) ||
                   evaluation_.HasAnyGram(work.question_words) ||
                   evaluation_.HasAnyGram(work.answer_words);
    for (const std::string& text : work.row.positives) {
      work.positives.push_back(ReadPairText(text, work.row.title));
      work.overlap |= work.positives.back().overlap;
    }
    for (const std::string& text : work.row.negatives) {
      work.negatives.push_back(ReadPairText(text, ""));
    }
    return work;
  }

  PairText ReadPairText(const std::string& text, const std::string& title) const {
    const std::vector<uint64_t> words = FindWords(text).hashes;
    return {TitleBefore(title, words), text, TextHash(words, text), evaluation_.HasAnyGram(words)};
  }

  // Sees to it that seen_ knows every text of the rows that are kept, but those that turn out to
  // overlap with evaluation sets once their title stands before them.
  void AddPairTexts(std::span<const PairWork> works) {
    std::vector<const PairText*> texts;
    std::unordered_set<uint64_t> claimed;
    for (const PairWork& work : works) {
      if (work.overlap) continue;
      for (const auto* list : {&work.positives, &work.negatives}) {
        for (const PairText& text : *list) {
          if (text.overlap || seen_.FindEqual(text.hash).has_value()) continue;
          if (claimed.insert(text.hash).second) texts.push_back(&text);
        }
      }
    }
    std::vector<PreparedDocument> prepared(texts.size());
    ForEach(texts.size(), [&](size_t i) {
      prepared[i] = preparer_->Prepare(texts[i]->title, texts[i]->text, false);
    });
    for (size_t i = 0; i < texts.size(); ++i) {
      if (prepared[i].dropped_overlap > 0) continue;
      const SeenDocuments::Overlap overlap = Compare(prepared[i]);
      if (overlap.in_one >= kSameText) {
        seen_.AddText(texts[i]->hash, overlap.best);
      } else {
        AddDocument(texts[i]->hash, std::move(prepared[i]));
      }
    }
  }

  void ChoosePassages(PairWork* work) const {
    if (work->overlap) return;
    const auto add = [&](const PairText& text, std::vector<int32_t>* passages) {
      const auto range = seen_.FindEqual(text.hash);
      if (!range) return false;
      const int32_t passage = BestPassage(*range, *work);
      if (std::ranges::find(*passages, passage) == passages->end()) passages->push_back(passage);
      return true;
    };
    for (const PairText& text : work->positives) {
      if (!add(text, &work->question.positives)) work->overlap = true;
    }
    for (const PairText& text : work->negatives) {
      if (!text.overlap) add(text, &work->question.negatives);
    }
    std::erase_if(work->question.negatives, [&](int32_t passage) {
      return std::ranges::find(work->question.positives, passage) != work->question.positives.end();
    });
  }

  // The passage that holds the answer, of several such the one with the most and rarest words of
  // question and answer; if none holds it, that one of all.
  int32_t BestPassage(const PassageRange& range, const PairWork& work) const {
    if (range.count == 1) return range.first;
    std::vector<uint64_t> wanted = work.question_words;
    wanted.insert(wanted.end(), work.answer_words.begin(), work.answer_words.end());
    std::ranges::sort(wanted);
    wanted.erase(std::ranges::unique(wanted).begin(), wanted.end());
    std::pair<bool, double> best = {false, -1};
    int32_t best_passage = range.first;
    for (int32_t passage = range.first; passage < range.first + range.count; ++passage) {
      std::vector<uint64_t> words =
          FindWords(tokenizer_.Decode(writer_.Passage(passage).ToVector(), true)).hashes;
      std::pair<bool, double> score = {ContainsRun(words, work.answer_words), 0};
      std::ranges::sort(words);
      for (const uint64_t word : wanted) {
        if (std::ranges::binary_search(words, word)) score.second += word_counts_.Weight(word);
      }
      if (score > best) {
        best = score;
        best_passage = passage;
      }
    }
    return best_passage;
  }

  const Tokenizer& tokenizer_;
  const PackOptions& options_;
  EvaluationText evaluation_;
  std::optional<Preparer> preparer_;
  SeenDocuments seen_;
  WordCounts word_counts_;
  std::unordered_set<uint64_t> asked_;  // (question, passage)
  PackWriter writer_;
  PackReport report_;
  int64_t limit_ = INT64_MAX;  // of the source being read
  ThreadPool threads_;
  Progress progress_;
};

}  // namespace

Result<PackReport> BuildPack(const Tokenizer& tokenizer, const PackOptions& options) {
  return Builder(tokenizer, options).Build();
}

std::string SourceName(const std::string& path) {
  std::filesystem::path name = std::filesystem::path(path).filename();
  for (const char* extension : {".zst", ".jsonl", ".json"}) {
    if (name.extension() == extension) name = name.stem();
  }
  return name.string();
}

}  // namespace msa
