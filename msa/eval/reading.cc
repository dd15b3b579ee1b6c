#include "msa/eval/reading.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "msa/base/utf8.h"
#include "msa/eval/memories.h"
#include "msa/eval/search_index.h"
#include "msa/text/passages.h"
#include "msa/text/prompt.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

// Questions that are encoded and scored together.
constexpr size_t kBatchQuestions = 32;
// A longer answer is cut: what it begins with decides.
constexpr size_t kMaxAnswerTokens = 128;

bool ContainsIgnoringCase(std::string_view text, std::string_view part) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::search(text.begin(), text.end(), part.begin(), part.end(),
                     [&](char a, char b) { return lower(a) == lower(b); }) != text.end();
}

// One question as all conditions read it.
struct Item {
  const EvalQuestion* question;
  std::vector<IndexedPassage> passages;  // best first
  std::vector<TokenId> bare_prompt, text_prompt;
  std::vector<TokenId> answer;
};

class Reading {
 public:
  Reading(const ReadingOptions& options, MemoryModel& model, ChatFamily family)
      : options_(options), model_(model), family_(family) {}

  Item Prepare(const EvalQuestion& question, std::vector<IndexedPassage> passages) const {
    Item item{&question, std::move(passages), {}, {}, {}};
    item.answer = model_.tokenizer().Encode(question.answers.front());
    if (item.answer.size() > kMaxAnswerTokens) item.answer.resize(kMaxAnswerTokens);
    std::vector<PromptText> texts;
    for (const IndexedPassage& passage : item.passages) texts.push_back(passage.text);
    item.bare_prompt = Prompt(question, {});
    // As much text as the context holds beside an answer, as Engine::Ask does.
    const int64_t room = model_.backbone().context_tokens - static_cast<int64_t>(kMaxAnswerTokens) -
                         options_.max_tokens - model_.memory().query_offset;
    do {
      item.text_prompt = Prompt(question, texts);
      if (!texts.empty()) texts.pop_back();
    } while (!texts.empty() && std::ssize(item.text_prompt) > room);
    return item;
  }

  // Adds the nats of questions [begin, end) of `items` to the sums.
  Status Score(std::span<const Item> items, std::span<const size_t> strangers, size_t begin,
               size_t end) {
    MSA_ASSIGN_OR_RETURN(const auto own, Memories(items, Range(begin, end)));
    MSA_ASSIGN_OR_RETURN(const auto other, Memories(items, strangers.subspan(begin, end - begin)));
    std::vector<std::vector<TokenId>> texts;  // prompt and answer
    for (size_t i = begin; i < end; ++i) {
      for (const auto* prompt : {&items[i].bare_prompt, &items[i].text_prompt}) {
        texts.push_back(*prompt);
        texts.back().insert(texts.back().end(), items[i].answer.begin(), items[i].answer.end());
      }
    }
    std::vector<AttachedMemory> own_beside_text = own;
    for (AttachedMemory& memory : own_beside_text) memory.beside_text = true;
    std::vector<ScoreRow> rows;
    const AttachedMemory nothing = {.always_reader = true, .beside_text = true};
    for (size_t i = begin; i < end; ++i) {
      const size_t n = i - begin;
      const auto bare = std::ssize(items[i].bare_prompt);
      const auto text = std::ssize(items[i].text_prompt);
      // In the order of Given.
      rows.push_back({texts[2 * n], nullptr, bare});
      rows.push_back({texts[2 * n], &other[n], bare});
      rows.push_back({texts[2 * n], &own[n], bare});
      rows.push_back({texts[2 * n + 1], options_.reader_of_text ? &nothing : nullptr, text});
      rows.push_back({texts[2 * n + 1], &own_beside_text[n], text});
    }
    MSA_ASSIGN_OR_RETURN(const auto nats, model_.Score(rows));
    for (size_t r = 0; r < nats.size(); ++r) {
      nats_[r % kGivens].push_back(std::accumulate(nats[r].begin(), nats[r].end(), 0.0));
    }
    for (size_t i = begin; i < end; ++i) {
      weights_.push_back(static_cast<double>(items[i].answer.size()));
    }
    if (!options_.generate) return OkStatus();
    for (size_t i = begin; i < end; ++i) {
      for (size_t given = 0; given < kGivens; ++given) {
        const auto kind = static_cast<Given>(given);
        std::optional<AttachedMemory> memory;
        if (kind == Given::kStranger) memory = other[i - begin];
        if (kind == Given::kLatents) memory = own[i - begin];
        if (kind == Given::kBoth) memory = own_beside_text[i - begin];
        if (kind == Given::kText && options_.reader_of_text) memory = nothing;
        const bool text = kind == Given::kText || kind == Given::kBoth;
        MSA_ASSIGN_OR_RETURN(const std::string answer,
                             Generate(text ? items[i].text_prompt : items[i].bare_prompt, memory));
        exact_[given] += ExactMatch(answer, items[i].question->answers) ? 1 : 0;
        f1_[given] += AnswerF1(answer, items[i].question->answers);
      }
    }
    return OkStatus();
  }

  void Report(ReadingReport* report) const {
    const auto n = static_cast<double>(weights_.size());
    for (size_t given = 0; given < kGivens; ++given) {
      report->figures[given] = {RatioEstimate(nats_[given], weights_), exact_[given] / n,
                                f1_[given] / n};
    }
    const auto gain = [&](Given from, Given to) {
      std::vector<double> difference = nats_[static_cast<size_t>(from)];
      for (size_t i = 0; i < difference.size(); ++i) {
        difference[i] -= nats_[static_cast<size_t>(to)][i];
      }
      return RatioEstimate(difference, weights_);
    };
    report->latents_gain = gain(Given::kStranger, Given::kLatents);
    report->both_gain = gain(Given::kText, Given::kBoth);
    report->answer_tokens =
        static_cast<int64_t>(std::accumulate(weights_.begin(), weights_.end(), 0.0));
  }

 private:
  static std::vector<size_t> Range(size_t begin, size_t end) {
    std::vector<size_t> range(end - begin);
    std::iota(range.begin(), range.end(), begin);
    return range;
  }

  std::vector<TokenId> Prompt(const EvalQuestion& question,
                              std::span<const PromptText> texts) const {
    return RenderChat(family_, model_.tokenizer(), ReadingPrompt(question.text, texts));
  }

  // The latents of all passages of each question in `chosen`.
  Result<std::vector<AttachedMemory>> Memories(std::span<const Item> items,
                                               std::span<const size_t> chosen) const {
    std::vector<std::span<const TokenId>> passages;
    for (const size_t i : chosen) {
      for (const IndexedPassage& passage : items[i].passages) {
        passages.emplace_back(passage.tokens);
      }
    }
    MSA_ASSIGN_OR_RETURN(const auto each, EncodeMemories(model_, passages));
    std::vector<AttachedMemory> joined;
    std::span<const AttachedMemory> rest = each;
    for (const size_t i : chosen) {
      joined.push_back(Join(rest.first(items[i].passages.size())));
      rest = rest.subspan(items[i].passages.size());
    }
    return joined;
  }

  Result<std::string> Generate(const std::vector<TokenId>& prompt,
                               std::optional<AttachedMemory> memory) const {
    const std::vector<TokenId> stops = StopTokens(family_, model_.tokenizer());
    MSA_ASSIGN_OR_RETURN(const auto session, model_.StartSession(std::move(memory)));
    MSA_ASSIGN_OR_RETURN(std::span<const float> logits, session->Feed(prompt));
    std::vector<TokenId> answer;
    while (std::ssize(answer) < options_.max_tokens) {
      const TokenId token = MemoryModel::Sample(logits, {}, 0);
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) break;
      answer.push_back(token);
      MSA_ASSIGN_OR_RETURN(logits, session->Feed({&token, 1}));
    }
    return std::string(Trim(model_.tokenizer().Decode(answer)));
  }

  const ReadingOptions& options_;
  MemoryModel& model_;
  const ChatFamily family_;
  std::array<std::vector<double>, kGivens> nats_;  // of each question's answer
  std::vector<double> weights_;                    // its tokens
  std::array<double, kGivens> exact_ = {}, f1_ = {};
};

// The passages of these documents of the set, cut as `msa add` cuts them.
class DocumentPassages {
 public:
  DocumentPassages(const EvalSet& set, const MemoryModel& model) : model_(model) {
    for (const EvalDocument& document : set.documents) documents_[document.id] = &document;
  }

  void Append(const std::string& id, std::vector<IndexedPassage>* passages) const {
    const auto it = documents_.find(id);
    if (it == documents_.end()) return;
    Document document;
    document.title = it->second->title;
    document.text = it->second->text;
    for (Passage& passage : SplitPassages(document, model_.tokenizer(),
                                          {.max_tokens = model_.memory().passage_tokens})) {
      std::string text(TextBetween(document.text, passage.begin, passage.end));
      passages->push_back({id, {document.title, std::move(text)}, std::move(passage.tokens)});
    }
  }

 private:
  const MemoryModel& model_;
  std::unordered_map<std::string, const EvalDocument*> documents_;
};

// Of the relevant documents, those that hold an answer first.
std::vector<IndexedPassage> RelevantPassages(const DocumentPassages& documents,
                                             const EvalQuestion& question) {
  std::vector<IndexedPassage> passages;
  for (const auto& [id, rel] : question.relevant) documents.Append(id, &passages);
  std::stable_partition(passages.begin(), passages.end(), [&](const IndexedPassage& passage) {
    return std::any_of(
        question.answers.begin(), question.answers.end(),
        [&](const std::string& answer) { return ContainsIgnoringCase(passage.text.text, answer); });
  });
  return passages;
}

// At most k for each question, as the options say; `index` where heads choose.
Result<std::vector<std::vector<IndexedPassage>>> ChoosePassages(
    const EvalSet& set, std::span<const EvalQuestion> questions, const ReadingOptions& options,
    const MemoryModel& model, int64_t k, SearchIndex* index) {
  std::vector<std::vector<IndexedPassage>> chosen(questions.size());
  if (index != nullptr) {
    MSA_ASSIGN_OR_RETURN(const Rankings found,
                         index->Rank(*options.heads, questions, options.hops, k));
    for (size_t q = 0; q < questions.size(); ++q) {
      for (const LexicalHit& hit : found[q]) chosen[q].push_back(index->passage(hit.passage));
    }
    return chosen;
  }
  DocumentRankings rankings;
  if (!options.ranking.empty()) {
    MSA_ASSIGN_OR_RETURN(rankings, ReadRankings(options.ranking));
  }
  const DocumentPassages documents(set, model);
  for (size_t q = 0; q < questions.size(); ++q) {
    if (options.ranking.empty()) {
      chosen[q] = RelevantPassages(documents, questions[q]);
    } else {
      for (const std::string& id : rankings[questions[q].id]) {
        if (std::ssize(chosen[q]) < k) documents.Append(id, &chosen[q]);
      }
    }
    if (std::ssize(chosen[q]) > k) chosen[q].resize(static_cast<size_t>(k));
  }
  return chosen;
}

// For each question one that shares no document with it, half the list away.
Result<std::vector<size_t>> ChooseStrangers(std::span<const Item> items) {
  const auto shares = [&](size_t a, size_t b) {
    return std::any_of(
        items[a].question->relevant.begin(), items[a].question->relevant.end(),
        [&](const auto& entry) { return items[b].question->relevant.contains(entry.first); });
  };
  std::vector<size_t> strangers;
  for (size_t i = 0; i < items.size(); ++i) {
    size_t other = (i + items.size() / 2) % items.size();
    for (size_t step = 0; shares(i, other); ++step) {
      if (step == items.size()) {
        return InvalidArgument("all questions share a document: nobody is a stranger");
      }
      other = (other + 1) % items.size();
    }
    strangers.push_back(other);
  }
  return strangers;
}

}  // namespace

Result<ReadingReport> EvaluateReading(const EvalSet& set, const ReadingOptions& options) {
  std::vector<EvalQuestion> answered;
  for (const EvalQuestion& question : set.questions) {
    if (!question.answers.empty()) answered.push_back(question);
  }
  if (answered.empty()) return InvalidArgument(set.name + ": no question has an answer");
  std::vector<EvalQuestion> questions;
  for (const int64_t q : SampleIndexes(std::ssize(answered), options.sample, options.seed)) {
    questions.push_back(std::move(answered[static_cast<size_t>(q)]));
  }
  std::unique_ptr<SearchIndex> index;
  std::unique_ptr<MemoryModel> loaded;
  if (options.heads) {
    MSA_ASSIGN_OR_RETURN(index, SearchIndex::Build(set.documents, options.engine,
                                                   *options.heads != Heads::kLexical));
  } else {
    MSA_ASSIGN_OR_RETURN(loaded, LoadEvalModel(options.engine));
  }
  MemoryModel& model = index ? index->model() : *loaded;
  const int64_t k = options.k > 0 ? options.k : model.memory().top_k;
  MSA_ASSIGN_OR_RETURN(const ChatFamily family,
                       ChooseChatFamily(options.engine.chat_family, model.chat_template()));
  MSA_ASSIGN_OR_RETURN(auto passages,
                       ChoosePassages(set, questions, options, model, k, index.get()));
  Reading reading(options, model, family);
  std::vector<Item> items;
  for (size_t q = 0; q < questions.size(); ++q) {
    if (passages[q].empty()) continue;
    items.push_back(reading.Prepare(questions[q], std::move(passages[q])));
  }
  if (items.empty()) return InvalidArgument(set.name + ": no question's documents are there");
  MSA_ASSIGN_OR_RETURN(const std::vector<size_t> strangers, ChooseStrangers(items));

  ReadingReport report{
      .set = set.name, .questions = std::ssize(items), .generated = options.generate};
  Progress progress("reading", "questions", report.questions, options.engine.progress);
  for (size_t begin = 0; begin < items.size(); begin += kBatchQuestions) {
    if (options.engine.cancelled != nullptr && options.engine.cancelled->load()) {
      return Cancelled("stopped while reading");
    }
    const size_t end = std::min(items.size(), begin + kBatchQuestions);
    MSA_RETURN_IF_ERROR(reading.Score(items, strangers, begin, end));
    progress.Add(static_cast<int64_t>(end - begin));
  }
  reading.Report(&report);
  return report;
}

}  // namespace msa
