#include "msa/eval/needles.h"

#include <algorithm>

#include "msa/eval/search_index.h"
#include "msa/model/weight_source.h"
#include "msa/text/passages.h"

namespace msa {
namespace {

// A needle's sentence has about 16 tokens.
constexpr int64_t kSentenceTokens = 16;
constexpr int64_t kHaystackShare = 20;
constexpr int kDistractors = 6;
constexpr int kValues = 3;

size_t Draw(std::mt19937_64& random, size_t count) { return random() % count; }

// Three or four syllables: "Veltharion".
std::string MakeName(std::mt19937_64& random) {
  constexpr std::array<const char*, 16> kOnsets = {"b", "d", "dr", "f", "g", "k", "l",  "m",
                                                   "n", "p", "r",  "s", "t", "v", "th", "z"};
  constexpr std::array<const char*, 10> kVowels = {"a", "e", "i",  "o",  "u",
                                                   "a", "e", "ai", "or", "el"};
  std::string name;
  const size_t syllables = 3 + Draw(random, 2);
  for (size_t i = 0; i < syllables; ++i) {
    name += kOnsets[Draw(random, kOnsets.size())];
    name += kVowels[Draw(random, kVowels.size())];
  }
  name += std::array<const char*, 4>{"n", "r", "s", "k"}[Draw(random, 4)];
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

// "48213": five digits, the first of them not 0.
std::string MakeCode(std::mt19937_64& random) {
  return std::to_string(10'000 + Draw(random, 90'000));
}

// {k}: the name asked about, {v}: the value.
struct Form {
  const char* sentence;
  const char* question;
  bool code;  // the value is a code, else a name
};
constexpr std::array<Form, 5> kForms = {{
    {"The access code of {k} is {v}.", "What is the access code of {k}?", true},
    {"The registration number of the ship {k} is {v}.",
     "What is the registration number of the ship {k}?", true},
    {"The town of {k} was founded by {v}.", "By whom was the town of {k} founded?", false},
    {"The telephone number of the {k} office is {v}.",
     "What is the telephone number of the {k} office?", true},
    {"The owner of the {k} mill is called {v}.", "What is the owner of the {k} mill called?",
     false},
}};
constexpr std::array<Form, 2> kManyForms = {{
    {"One of the locker numbers of {k} is {v}.", "What are the three locker numbers of {k}?", true},
    {"One of the sisters of {k} is called {v}.", "What are the three sisters of {k} called?",
     false},
}};

std::string Fill(std::string text, const std::string& key, const std::string& value) {
  for (const auto& [mark, with] : {std::pair("{k}", key), std::pair("{v}", value)}) {
    const size_t at = text.find(mark);
    if (at != text.npos) text.replace(at, 3, with);
  }
  return text;
}

std::string MakeValue(const Form& form, std::mt19937_64& random) {
  return form.code ? MakeCode(random) : MakeName(random);
}

bool Says(std::string_view answer, std::string_view value) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::search(answer.begin(), answer.end(), value.begin(), value.end(),
                     [&](char a, char b) { return lower(a) == lower(b); }) != answer.end();
}

// Whole documents, and a part of the last, of `tokens` tokens together.
Result<std::vector<EvalDocument>> CutHaystack(std::span<const EvalDocument> documents,
                                              const Tokenizer& tokenizer, int64_t tokens,
                                              const std::string& corpus) {
  std::vector<EvalDocument> haystack;
  int64_t left = tokens;
  for (const EvalDocument& document : documents) {
    if (left <= 0) break;
    const TokenizedText text = tokenizer.EncodeWithOffsets(document.text);
    haystack.push_back(document);
    haystack.back().id = std::to_string(haystack.size());  // one each, whatever the corpus says
    if (std::ssize(text.ids) > left) {
      std::string& cut = haystack.back().text;
      cut.resize(static_cast<size_t>(text.begin[static_cast<size_t>(left)]));
    }
    left -= std::ssize(text.ids);
  }
  if (left > 0) {
    return InvalidArgument(corpus + " has " + std::to_string(tokens - left) +
                           " tokens, too few for a haystack of " + std::to_string(tokens));
  }
  return haystack;
}

struct Trial {
  Needle needle;
  int64_t position;  // index
};

// All needles of one length, kinds and positions in turn.
std::vector<Trial> MakeTrials(const NeedleOptions& options, std::mt19937_64& random) {
  std::vector<Trial> trials;
  for (int64_t i = 0; i < options.sample; ++i) {
    for (int64_t p = 0; p < options.positions; ++p) {
      for (const NeedleKind kind : options.kinds) trials.push_back({MakeNeedle(kind, random), p});
    }
  }
  return trials;
}

// The first sentence at the trial's position, all others anywhere.
std::vector<Placed> Place(std::span<const Trial> trials, int64_t positions,
                          std::mt19937_64& random) {
  const auto anywhere = [&] { return static_cast<double>(Draw(random, 1'000'000)) * 1e-6; };
  std::vector<Placed> placed;
  for (const Trial& trial : trials) {
    for (const std::string& sentence : trial.needle.sentences) {
      const bool first = &sentence == trial.needle.sentences.data();
      placed.push_back({first ? NeedlePosition(trial.position, positions) : anywhere(), sentence});
    }
    for (const std::string& sentence : trial.needle.distractors) {
      placed.push_back({anywhere(), sentence});
    }
  }
  return placed;
}

bool Found(const Needle& needle, const std::vector<Retrieved>& results) {
  return std::all_of(
      needle.sentences.begin(), needle.sentences.end(), [&](const std::string& sentence) {
        return std::any_of(results.begin(), results.end(), [&](const Retrieved& result) {
          return result.text.find(sentence) != std::string::npos;
        });
      });
}

// Adds the documents to a bank of their own and tries each needle.
Status Try(std::span<const EvalDocument> documents, std::span<const Trial> trials,
           const NeedleOptions& options, std::array<std::vector<NeedleCell>, kNeedleKinds>* cells) {
  const TemporaryBank folder;
  MSA_ASSIGN_OR_RETURN(const std::string path, folder.WriteDocuments(documents));
  MSA_ASSIGN_OR_RETURN(const auto engine, Engine::OpenOrCreate(folder.bank(), options.engine));
  const bool latents = options.ask.search.heads != Heads::kLexical ||
                       (options.answer && options.ask.read != ReadMode::kText);
  MSA_ASSIGN_OR_RETURN(const AddReport added, engine->Add({path}, {.encode = latents}));
  if (added.cancelled) return Cancelled("stopped while adding the haystack");
  Progress progress("asking", "needles", std::ssize(trials), options.engine.progress);
  for (const Trial& trial : trials) {
    if (options.engine.cancelled != nullptr && options.engine.cancelled->load()) {
      return Cancelled("stopped while asking");
    }
    const Needle& needle = trial.needle;
    NeedleCell& cell =
        (*cells)[static_cast<size_t>(needle.kind)][static_cast<size_t>(trial.position)];
    ++cell.needles;
    if (options.answer) {
      MSA_ASSIGN_OR_RETURN(const AskResponse response,
                           engine->Ask(needle.question, options.ask, nullptr));
      cell.found += Found(needle, response.retrieved) ? 1 : 0;
      const bool all = std::all_of(needle.answers.begin(), needle.answers.end(),
                                   [&](const auto& value) { return Says(response.answer, value); });
      cell.answered += all ? 1 : 0;
      if (!all) cell.missed.push_back({needle.question, needle.answers, response.answer});
    } else {
      MSA_ASSIGN_OR_RETURN(const SearchResponse response,
                           engine->Search(needle.question, options.ask.search));
      cell.found += Found(needle, response.results) ? 1 : 0;
    }
    progress.Add(1);
  }
  return OkStatus();
}

}  // namespace

Needle MakeNeedle(NeedleKind kind, std::mt19937_64& random) {
  Needle needle{.kind = kind};
  if (kind == NeedleKind::kCombined) {
    const std::string keeper = MakeName(random), town = MakeName(random), value = MakeCode(random);
    needle.sentences = {"The archive of " + keeper + " is kept in the town of " + town + ".",
                        "The gate code of the town of " + town + " is " + value + "."};
    needle.question =
        "What is the gate code of the town where the archive of " + keeper + " is kept?";
    needle.answers = {value};
    return needle;
  }
  const bool many_values = kind == NeedleKind::kManyValues;
  const Form& form = many_values ? kManyForms[Draw(random, kManyForms.size())]
                                 : kForms[Draw(random, kForms.size())];
  const std::string key = MakeName(random);
  for (int i = 0; i < (many_values ? kValues : 1); ++i) {
    needle.answers.push_back(MakeValue(form, random));
    needle.sentences.push_back(Fill(form.sentence, key, needle.answers.back()));
  }
  needle.question = Fill(form.question, key, "");
  for (int i = 0; kind == NeedleKind::kManyKeys && i < kDistractors; ++i) {
    const std::string other = MakeName(random);
    needle.distractors.push_back(Fill(form.sentence, other, MakeValue(form, random)));
  }
  return needle;
}

void PlaceSentences(std::vector<Placed> placed, std::vector<EvalDocument>* documents) {
  int64_t total = 0;
  for (const EvalDocument& document : *documents) total += std::ssize(document.text);
  std::stable_sort(placed.begin(), placed.end(),
                   [](const Placed& a, const Placed& b) { return a.position < b.position; });
  auto next = placed.begin();
  int64_t before = 0;  // bytes of the documents that are done
  for (EvalDocument& document : *documents) {
    const int64_t size = std::ssize(document.text);
    const bool last = &document == &documents->back();
    // Where each goes: the first sentence that begins at or after its place, else the end.
    std::vector<std::pair<int64_t, const std::string*>> here;
    const std::vector<TextSpan> sentences = SplitSentences(document.text);
    for (; next != placed.end(); ++next) {
      const auto at = static_cast<int64_t>(next->position * static_cast<double>(total)) - before;
      if (at >= size && !last) break;
      const auto begin = std::find_if(sentences.begin(), sentences.end(),
                                      [&](const TextSpan& span) { return span.begin >= at; });
      here.emplace_back(begin == sentences.end() ? size : begin->begin, &next->sentence);
    }
    std::string text;
    int64_t copied = 0;
    for (const auto& [at, sentence] : here) {
      text += document.text.substr(static_cast<size_t>(copied), static_cast<size_t>(at - copied));
      if (!text.empty() && text.back() != ' ' && text.back() != '\n') text += ' ';
      text += *sentence + " ";
      copied = at;
    }
    document.text = text + document.text.substr(static_cast<size_t>(copied));
    before += size;
  }
}

double NeedlePosition(int64_t index, int64_t positions) {
  return positions > 1 ? static_cast<double>(index) / static_cast<double>(positions - 1) : 0.5;
}

NeedleCell Sum(std::span<const NeedleCell> cells) {
  NeedleCell sum;
  for (const NeedleCell& cell : cells) {
    sum.needles += cell.needles;
    sum.found += cell.found;
    sum.answered += cell.answered;
  }
  return sum;
}

Result<NeedleReport> EvaluateNeedles(const std::string& corpus, const NeedleOptions& options) {
  MSA_ASSIGN_OR_RETURN(std::vector<EvalDocument> documents, SampleCorpus(corpus, 0, 0));
  std::mt19937_64 random(options.seed);
  for (size_t i = documents.size(); i > 1; --i) {
    std::swap(documents[i - 1], documents[Draw(random, i)]);
  }
  NeedleReport report{corpus, options.lengths, options.positions, options.answer, {}};
  // The tokenizer alone; each bank's engine loads its own model.
  MSA_ASSIGN_OR_RETURN(const std::string model_path,
                       options.engine.model_path.empty()
                           ? DefaultModelPath()
                           : Result<std::string>(options.engine.model_path));
  MSA_ASSIGN_OR_RETURN(const auto source, WeightSource::Open(model_path));
  MSA_ASSIGN_OR_RETURN(const auto tokenizer, source->LoadTokenizer());
  for (const int64_t length : options.lengths) {
    auto& cells = report.cells.emplace_back();
    for (auto& row : cells) row.resize(static_cast<size_t>(options.positions));
    MSA_ASSIGN_OR_RETURN(const std::vector<EvalDocument> haystack,
                         CutHaystack(documents, *tokenizer, length, corpus));
    const std::vector<Trial> trials = MakeTrials(options, random);
    for (size_t begin = 0; begin < trials.size();) {
      size_t end = begin;
      int64_t sentences = 0;
      while (end < trials.size() &&
             (end == begin || sentences * kSentenceTokens * kHaystackShare < length)) {
        const Needle& needle = trials[end++].needle;
        sentences += std::ssize(needle.sentences) + std::ssize(needle.distractors);
      }
      const std::span<const Trial> round(trials.data() + begin, end - begin);
      std::vector<EvalDocument> filled = haystack;
      PlaceSentences(Place(round, options.positions, random), &filled);
      MSA_RETURN_IF_ERROR(Try(filled, round, options, &cells));
      begin = end;
    }
  }
  return report;
}

}  // namespace msa
