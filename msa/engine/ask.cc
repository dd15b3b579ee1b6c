// Engine::Ask: search, read, answer, cite.

#include <algorithm>
#include <limits>

#include "msa/base/clock.h"
#include "msa/base/utf8.h"
#include "msa/engine/answer_kind.h"
#include "msa/engine/cite.h"
#include "msa/engine/engine.h"
#include "msa/engine/question_gain.h"
#include "msa/kernels/pool.h"
#include "msa/text/passages.h"
#include "msa/text/prompt.h"

namespace msa {
namespace {

// Gives text to the caller as it comes: whole characters, and nothing that may turn out to begin a
// stop string.
class TextStream {
 public:
  TextStream(const std::vector<std::string>& stop, const OnText& on_text)
      : stop_(stop), on_text_(on_text) {}

  // Returns false when a stop string has come; what stands before it has been given.
  bool Append(std::string_view bytes) {
    text_ += bytes;
    for (const std::string& stop : stop_) {
      const size_t at = stop.empty() ? std::string::npos
                                     : text_.find(stop, given_ - std::min(given_, stop.size()));
      if (at != std::string::npos) {
        text_.resize(std::max(at, given_));
        return false;
      }
    }
    if (const size_t repeated = RepeatedBytes(); repeated > 0) {
      text_.resize(text_.size() - repeated);
      given_ = std::min(given_, text_.size());
      return false;
    }
    Give(text_.size() - HeldBack());
    return true;
  }

  std::string Finish() {
    text_ = ReplaceInvalidUtf8(text_);
    Give(text_.size());
    return std::move(text_);
  }

 private:
  // Length of the last stretch of text if it stands twice in a row: a small model that draws the
  // likeliest token each time falls into such loops and never leaves them.
  size_t RepeatedBytes() const {
    constexpr size_t kShortest = 24;  // "New York, New York" is no loop
    constexpr size_t kLongest = 300;
    const std::string_view text = text_;
    for (size_t n = kShortest; n <= std::min(kLongest, text.size() / 2); ++n) {
      if (text.substr(text.size() - n) == text.substr(text.size() - 2 * n, n)) return n;
    }
    return 0;
  }

  // Bytes at the end that may be an unfinished character or stop string.
  size_t HeldBack() const {
    size_t held = 0;
    for (size_t n = 1; n <= std::min<size_t>(3, text_.size()); ++n) {
      const auto c = static_cast<unsigned char>(text_[text_.size() - n]);
      if (c < 0x80) break;
      if (c < 0xc0) continue;
      const size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
      if (length > n) held = n;
      break;
    }
    for (const std::string& stop : stop_) {
      for (size_t n = std::min(stop.size(), text_.size()); n > held; --n) {
        if (std::string_view(text_).substr(text_.size() - n) == std::string_view(stop).substr(0, n))
          held = n;
      }
    }
    return held;
  }

  void Give(size_t end) {
    if (end <= given_) return;
    if (on_text_) on_text_(std::string_view(text_).substr(given_, end - given_));
    given_ = end;
  }

  const std::vector<std::string>& stop_;
  const OnText& on_text_;
  std::string text_;
  size_t given_ = 0;
};

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// `passage` narrowed to bytes [begin, end) of its text.
Retrieved Narrow(Retrieved passage, const Support& span) {
  passage.text = std::string(TextBetween(passage.text, span.begin, span.end));
  passage.end = passage.begin + span.end;
  passage.begin += span.begin;
  return passage;
}

std::vector<SourcePassage> Sources(const std::vector<Retrieved>& passages) {
  std::vector<SourcePassage> sources;
  for (const Retrieved& passage : passages) sources.push_back({passage.title, passage.text});
  return sources;
}

// What a stretch of text without words of the question loses for each passage that the heads found
// before its own, in weights of words (0.7 to 3.5 each). The lexical head alone ranks by words, as
// the choice among stretches does: its order says nothing new. Chosen on the questions of
// docs/quality.md, ukgov_dev and clapnq_dev.
constexpr double kLatentRankCost = 1;

// What the prompt may hold of the passages found, best first.
std::vector<Retrieved> SelectTexts(std::string_view question, const std::vector<Retrieved>& found,
                                   const AskOptions& options) {
  if (options.read_sentences == 0) {
    const auto count = std::min<int64_t>(options.read_passages, std::ssize(found));
    return {found.begin(), found.begin() + count};
  }
  const bool routed = std::ranges::any_of(
      found, [](const Retrieved& passage) { return passage.heads.contains("latent"); });
  const std::vector<SourcePassage> sources = Sources(found);
  std::vector<Retrieved> texts;
  for (const Support& excerpt :
       SupportFinder(question, sources)
           .Excerpts(options.read_passages, options.read_sentences, routed ? kLatentRankCost : 0)) {
    texts.push_back(Narrow(found[static_cast<size_t>(excerpt.passage)], excerpt));
  }
  return texts;
}

// The logits of an answer's first token, without the question's: small models like to repeat a
// question instead of answering it.
std::vector<float> WithoutEcho(std::span<const float> logits, std::string_view question,
                               const Tokenizer& tokenizer) {
  std::vector<float> out(logits.begin(), logits.end());
  if (!BeginsWithQuestionWord(question)) return out;
  const std::vector<TokenId> tokens = tokenizer.Encode(question);
  out[static_cast<size_t>(tokens.front())] = -std::numeric_limits<float>::infinity();
  return out;
}

// The support of a sentence: in a passage that is about the question by its words or, where these
// do not tell, by the model.
Result<std::optional<Support>> FindSupport(const SupportFinder& finder, std::string_view sentence,
                                           QuestionGain* gain) {
  for (const Support& support : finder.Find(sentence)) {
    if (support.is_about) return std::optional(support);
    MSA_ASSIGN_OR_RETURN(const bool is_about, gain->IsAbout(support.passage));
    if (is_about) return std::optional(support);
  }
  return std::optional<Support>();
}

Result<std::vector<Citation>> Cite(const std::string& answer, std::string_view question,
                                   const std::vector<Retrieved>& read, MemoryModel& model) {
  const std::vector<SourcePassage> sources = Sources(read);
  const SupportFinder finder(question, sources);
  QuestionGain gain(model, question, sources);
  std::vector<Citation> citations;
  for (const TextSpan& span : SplitSentences(answer)) {
    const std::string_view sentence = Trim(TextBetween(answer, span.begin, span.end));
    MSA_ASSIGN_OR_RETURN(const std::optional<Support> support,
                         FindSupport(finder, sentence, &gain));
    if (!support) continue;
    citations.push_back({std::string(sentence),
                         Narrow(read[static_cast<size_t>(support->passage)], *support),
                         support->coverage});
  }
  return citations;
}

}  // namespace

std::optional<ReadMode> ReadModeByName(std::string_view name) {
  if (name == "text") return ReadMode::kText;
  if (name == "latents") return ReadMode::kLatents;
  if (name == "both") return ReadMode::kBoth;
  return std::nullopt;
}

Result<AttachedMemory> Engine::AttachLatents(const Snapshot& snapshot,
                                             const std::vector<Retrieved>& passages,
                                             Counters* counters, std::vector<Retrieved>* without) {
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding, FindEncoding(snapshot));
  MSA_ASSIGN_OR_RETURN(const EncodingInfo info, DescribeEncoding());
  const int64_t width = info.layout.latent_row_elements();
  AttachedMemory memory;
  for (const Retrieved& passage : passages) {
    auto block = snapshot.ReadLatents(encoding, passage.passage);
    if (!block.ok() && block.status().code() == StatusCode::kNotFound) {
      without->push_back(passage);
      continue;
    }
    if (!block.ok()) return block.status();
    const int64_t n = block->chunks.front();
    memory.latents.resize(static_cast<size_t>((memory.num_latents + n) * width));
    LoadRows(block->latents.data(), block->latent_scales.data(), info.layout.latent_dtype,
             info.layout.head_dim, {memory.latents.data() + memory.num_latents * width, n, width});
    const auto rank = passage.heads.find("latent");
    memory.routing_score.insert(memory.routing_score.end(), static_cast<size_t>(n),
                                rank == passage.heads.end() ? 0.0f : rank->second.score);
    memory.num_latents += n;
    counters->bytes_read +=
        static_cast<int64_t>(block->latents.size() + block->latent_scales.size() * sizeof(float));
  }
  counters->latents += memory.num_latents;
  return memory;
}

Result<AskResponse> Engine::Ask(std::string_view question, const AskOptions& options,
                                const OnText& on_text) {
  MSA_ASSIGN_OR_RETURN(MemoryModel * model, Model());
  MSA_ASSIGN_OR_RETURN(const ChatFamily family, Family());
  const int64_t context = model->backbone().context_tokens;
  const auto render = [&](std::span<const Retrieved> texts) {
    std::vector<PromptText> read;
    for (const Retrieved& text : texts) read.push_back({text.title, text.text});
    return RenderChat(family, model->tokenizer(), ReadingPrompt(question, read, options.history));
  };
  std::vector<TokenId> prompt = render({});
  const auto room = [&] {
    return context - options.max_tokens - static_cast<int64_t>(prompt.size());
  };
  if (room() < 0) {
    return InvalidArgument("the question and conversation have " + std::to_string(prompt.size()) +
                           " tokens; with " + std::to_string(options.max_tokens) +
                           " for the answer that is more than the context of " +
                           std::to_string(context) + "; shorten the question");
  }

  MSA_ASSIGN_OR_RETURN(SearchResponse search, Search(question, options.search));
  AskResponse response;
  response.question = question;
  response.revision = search.revision;
  response.unencoded_passages = search.unencoded_passages;
  response.unkept_passages = search.unkept_passages;
  response.counters = std::move(search.counters);
  response.retrieved = std::move(search.results);
  if (response.retrieved.empty()) return response;

  MSA_ASSIGN_OR_RETURN(const auto snapshot, SnapshotAt(response.revision));
  std::optional<AttachedMemory> memory;
  std::vector<Retrieved> without_latents;
  ReadMode read = options.read.value_or(ReadMode::kText);
  if (!options.read && model->has_text_reader() && FindEncoding(*snapshot).ok()) {
    read = ReadMode::kBoth;
  }
  if (read != ReadMode::kText) {
    MSA_ASSIGN_OR_RETURN(
        memory, AttachLatents(*snapshot, response.retrieved, &response.counters, &without_latents));
  }
  // As much of the best text as was asked for and as the context holds.
  const std::vector<Retrieved>& readable =
      read == ReadMode::kLatents ? without_latents : response.retrieved;
  const std::vector<Retrieved> texts = SelectTexts(question, readable, options);
  std::span<const Retrieved> fitting(texts);
  for (prompt = render(fitting); room() < 0; prompt = render(fitting)) {
    fitting = fitting.first(fitting.size() - 1);
  }

  if (memory) memory->beside_text = !fitting.empty();

  auto start = Clock::now();
  MSA_ASSIGN_OR_RETURN(const auto session, model->StartSession(std::move(memory)));
  MSA_ASSIGN_OR_RETURN(std::span<const float> logits, session->Feed(prompt));
  response.counters.seconds["prefill"] = SecondsSince(start);

  start = Clock::now();
  const std::vector<TokenId> stop_tokens = StopTokens(family, model->tokenizer());
  const std::vector<float> first = WithoutEcho(logits, question, model->tokenizer());
  logits = first;
  TextStream stream(options.stop, on_text);
  for (int64_t step = 0; step < options.max_tokens && !cancelled(); ++step) {
    const TokenId token =
        MemoryModel::Sample(logits, options.sampling, static_cast<uint64_t>(step));
    if (std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end()) break;
    if (!stream.Append(model->tokenizer().Decode(std::span(&token, 1)))) break;
    MSA_ASSIGN_OR_RETURN(logits, session->Feed(std::span(&token, 1)));
  }
  response.answer = std::string(Trim(stream.Finish()));
  response.counters.seconds["generate"] = SecondsSince(start);
  if (cancelled()) return Cancelled("stopped while answering");

  start = Clock::now();
  MSA_ASSIGN_OR_RETURN(response.citations,
                       Cite(response.answer, question, response.retrieved, *model));
  response.answered = !response.citations.empty();
  response.counters.seconds["cite"] = SecondsSince(start);
  MSA_RETURN_IF_ERROR(snapshot->CheckErasures());
  return response;
}

}  // namespace msa
