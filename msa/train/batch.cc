#include "msa/train/batch.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "msa/text/prompt.h"

namespace msa {
namespace {

constexpr int64_t kHeldOutEvery = 500;  // documents
constexpr int64_t kAnswerTokens = 96;   // longer answers are cut
constexpr int64_t kNeighbours = 3;      // that come with a pair in a hard step
constexpr int64_t kNear = 2;            // passages before and after one, that may mislead beside it
constexpr int64_t kCueTokens = 4;       // that tell where in a passage a span begins
constexpr std::string_view kAbsent = "The documents do not say.";

double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1.0p-53; }
int64_t Below(std::mt19937_64& random, int64_t limit) {
  return static_cast<int64_t>(Uniform(random) * static_cast<double>(limit));
}

// An index by weight.
int64_t DrawIndex(std::mt19937_64& random, const std::vector<double>& weights) {
  double total = 0;
  for (const double w : weights) total += w;
  double at = Uniform(random) * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    at -= weights[i];
    if (at < 0) return static_cast<int64_t>(i);
  }
  return std::ssize(weights) - 1;
}

}  // namespace

int64_t BatchMaker::Pool::DrawSource(Random& random) const { return DrawIndex(random, weights); }

int64_t BatchMaker::Pool::Draw(Random& random, int64_t source) const {
  const auto& entries = by_source[static_cast<size_t>(source)];
  return entries[static_cast<size_t>(Below(random, std::ssize(entries)))];
}

// Puts a batch together, each passage in it once.
class BatchMaker::Builder {
 public:
  explicit Builder(const BatchMaker& maker) : maker_(maker) {}

  // The passage's index in the batch. `span` (of a cut question): leave these tokens out, if the
  // passage is not there yet.
  int64_t AddPassage(int64_t id, Pack::Range span = {0, 0}) {
    const auto [entry, is_new] = index_.try_emplace(id, std::ssize(batch.passage_ids));
    if (!is_new) return entry->second;
    std::vector<TokenId> tokens = maker_.pack_.Passage(id).ToVector();
    if (span.end > span.begin && span.end - span.begin < std::ssize(tokens)) {
      tokens.erase(tokens.begin() + span.begin, tokens.begin() + span.end);
    }
    batch.passages.Add(tokens);
    batch.passage_ids.push_back(id);
    return entry->second;
  }

  // The question with its passages.
  void AddQuestion(int64_t id, Pack::Range span = {0, 0}) {
    const Pack& pack = maker_.pack_;
    std::vector<TokenId> tokens = maker_.prefix_;
    const std::vector<TokenId> question = pack.Question(id).ToVector();
    tokens.insert(tokens.end(), question.begin(), question.end());
    tokens.insert(tokens.end(), maker_.suffix_.begin(), maker_.suffix_.end());
    if (pack.Kind(id) != QuestionKind::kInContext) {
      batch.routable.push_back(std::ssize(batch.question_ids));
    }
    batch.questions.Add(tokens);
    batch.question_ids.push_back(id);
    batch.asked.push_back(AddPassage(pack.Positives(id)[0], span));
  }

  // Rows that read back the passages, or what follows them, each with its passage attached and
  // perhaps others.
  void ReadBack(Random& random, const TrainPhase& phase) {
    const int64_t passages = std::ssize(batch.passage_ids);
    const int64_t count =
        phase.reader_passages == 0 ? passages : std::min(phase.reader_passages, passages);
    int64_t passage_begin = 0;
    for (int64_t p = 0; p < count; ++p) {
      const auto length = batch.passages.lengths[static_cast<size_t>(p)];
      std::vector<TokenId> row(batch.passages.tokens.begin() + passage_begin,
                               batch.passages.tokens.begin() + passage_begin + length);
      passage_begin += length;
      int64_t attached = p;
      int64_t cue = 0;
      const int64_t id = batch.passage_ids[static_cast<size_t>(p)];
      if (batch.task == TrainTask::kProceed) {
        if (id + 1 >= maker_.pack_.num_passages() || !maker_.pack_.Continues(id + 1)) continue;
        row = maker_.pack_.Passage(id + 1).ToVector();
      } else if (batch.task == TrainTask::kStranger) {
        // Passages of a batch seldom share a document; the next one is a stranger.
        attached = (p + 1) % passages;
      } else if (length > 2 * kCueTokens && Uniform(random) < phase.span_share) {
        row.erase(row.begin(), row.begin() + Below(random, length - 2 * kCueTokens));
        cue = kCueTokens;
      }
      if (row.size() < 2) continue;
      batch.read.AddRow(row, cue);
      batch.read.attached.push_back(WithOthers(random, attached, Below(random, phase.beside + 1)));
      if (batch.task == TrainTask::kStranger && phase.stranger_teacher > 0) {
        batch.told.AddRow(row, cue);
        Teach(phase.stranger_teacher);
      }
    }
  }

  // A row that answers question q of the batch.
  void Answer(Random& random, const TrainPhase& phase, int64_t q) {
    const Pack& pack = maker_.pack_;
    const int64_t id = batch.question_ids[static_cast<size_t>(q)];
    const double draw = Uniform(random);
    const bool absent = draw < phase.absent_share;
    std::vector<int64_t> told;
    if (!absent && draw < phase.absent_share + phase.text_share) {
      told = PassagesToTell(random, id, phase.texts);
    }
    std::vector<TokenId> answer =
        absent ? maker_.tokenizer_.Encode(kAbsent) : pack.Answer(id).ToVector();
    if (std::ssize(answer) > kAnswerTokens) answer.resize(kAnswerTokens);
    const std::vector<TokenId> stops = StopTokens(maker_.family_, maker_.tokenizer_);
    if (std::ssize(answer) < kAnswerTokens && !stops.empty()) answer.push_back(stops.front());
    const std::string question = maker_.tokenizer_.Decode(pack.Question(id).ToVector());
    AddPrompted(question, told, answer, &batch.read);
    batch.read.beside_text.back() = !told.empty();
    if (phase.text_teacher > 0 || phase.beside_text_teacher > 0) {
      std::vector<int64_t> right;
      if (!absent) right = RightPassages(id, std::max<int64_t>(phase.attach, 1));
      AddPrompted(question, right, answer, &batch.told);
      Teach(absent ? 0 : told.empty() ? phase.text_teacher : phase.beside_text_teacher);
    }
    TrainBatch::AnswerRow answer_row{q, absent, 0, {}};
    if (phase.attach > 0) {
      answer_row.attach = std::max(1 + Below(random, phase.attach), std::ssize(told));
      // Had a passage its text in the prompt and no latents, it would be known for a wrong one.
      for (const int64_t p : told) answer_row.first.push_back(AddPassage(p));
    }
    if (told.empty()) {
      for (const int32_t p : pack.Positives(id)) answer_row.first.push_back(AddPassage(p));
    }
    batch.answer_rows.push_back(std::move(answer_row));
  }

  TrainBatch batch;

 private:
  // This share of the targets just added comes from the backbone, which is told as much.
  void Teach(double share) {
    batch.read.taught.resize(batch.read.targets.size(), static_cast<float>(share));
  }

  // Passage p with `count` others of the batch, ascending.
  std::vector<int64_t> WithOthers(Random& random, int64_t p, int64_t count) const {
    const int64_t passages = std::ssize(batch.passage_ids);
    std::vector<int64_t> out = {p};
    while (std::ssize(out) < std::min(count + 1, passages)) {
      const int64_t other = Below(random, passages);
      if (std::find(out.begin(), out.end(), other) == out.end()) out.push_back(other);
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  // At most `limit` of the passages that answer question `id`.
  std::vector<int64_t> RightPassages(int64_t id, int64_t limit) const {
    const std::span<const int32_t> positives = maker_.pack_.Positives(id);
    const auto right = positives.first(std::min(positives.size(), static_cast<size_t>(limit)));
    return {right.begin(), right.end()};
  }

  // Passages whose texts the prompt of question `id` holds: at most `limit`, those that answer it
  // first chosen, then others that may mislead.
  std::vector<int64_t> PassagesToTell(Random& random, int64_t id, int64_t limit) const {
    std::vector<int64_t> told = RightPassages(id, limit);
    const int64_t count = 1 + Below(random, limit);
    std::vector<int64_t> others = maker_.MisleadingPassages(id);
    while (std::ssize(told) < count && !others.empty()) {
      const auto chosen = others.begin() + Below(random, std::ssize(others));
      told.insert(told.begin() + Below(random, std::ssize(told) + 1), *chosen);
      others.erase(chosen);
    }
    return told;
  }

  // A row of the prompt, with the texts of these passages, and the answer that it is to predict.
  void AddPrompted(const std::string& question, const std::vector<int64_t>& passages,
                   const std::vector<TokenId>& answer, ReaderRows* to) const {
    std::vector<PromptText> texts;
    for (const int64_t p : passages) texts.push_back(TextOf(p));
    std::vector<TokenId> row =
        RenderChat(maker_.family_, maker_.tokenizer_, ReadingPrompt(question, texts));
    const auto prompt = std::ssize(row);
    row.insert(row.end(), answer.begin(), answer.end());
    to->AddRow(row, prompt);
  }

  PromptText TextOf(int64_t passage) const {
    const std::string text = maker_.tokenizer_.Decode(maker_.pack_.Passage(passage).ToVector());
    const size_t line = text.find('\n');
    // The title stands before the text; a passage without one has none.
    if (line == std::string::npos || line > 200) return {"", text};
    return {text.substr(0, line), text.substr(line + 1)};
  }

  const BatchMaker& maker_;
  std::unordered_map<int64_t, int64_t> index_;  // pack's passage to the batch's
};

RoutingTargets BatchMaker::TargetsOf(std::span<const TrainBatch> batches) const {
  RoutingTargets targets;
  std::unordered_multimap<int64_t, int64_t> columns;  // pack's passage to ours: one a batch
  std::vector<int64_t> questions;
  int64_t passages = 0;
  for (const TrainBatch& batch : batches) {
    for (size_t q = 0; q < batch.question_ids.size(); ++q) {
      questions.push_back(batch.question_ids[q]);
      targets.passage.push_back(passages + batch.asked[q]);
    }
    for (const int64_t id : batch.passage_ids) columns.emplace(id, passages++);
  }
  targets.excluded.assign(questions.size() * static_cast<size_t>(passages), 0);
  const auto exclude = [&](size_t q, int64_t column) {
    if (column == targets.passage[q]) return;
    targets.excluded[q * static_cast<size_t>(passages) + static_cast<size_t>(column)] = 1;
  };
  std::map<std::vector<TokenId>, std::vector<size_t>> same;
  for (size_t q = 0; q < questions.size(); ++q) {
    for (const int32_t positive : pack_.Positives(questions[q])) {
      const auto [begin, end] = columns.equal_range(positive);
      for (auto column = begin; column != end; ++column) exclude(q, column->second);
    }
    same[pack_.Question(questions[q]).ToVector()].push_back(q);
  }
  // The same question of several documents: what answers one is no negative of the others.
  for (const auto& [question, rows] : same) {
    for (const size_t a : rows) {
      for (const size_t b : rows) exclude(a, targets.passage[b]);
    }
  }
  return targets;
}

Result<std::unique_ptr<BatchMaker>> BatchMaker::Create(const TrainConfig& config, const Pack& pack,
                                                       const Teacher* teacher,
                                                       const Tokenizer& tokenizer,
                                                       ChatFamily family) {
  std::unique_ptr<BatchMaker> maker(new BatchMaker(config, pack, teacher, tokenizer, family));
  // A user's turn without the system's before it: what routing needs and no more.
  if (family == ChatFamily::kLlama3) {
    maker->template_ = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"};
  } else {
    maker->template_ = {"<|im_start|>user\n", "<|im_end|>"};
  }
  maker->prefix_ = tokenizer.Encode(maker->template_.prefix, {.parse_special = true});
  maker->suffix_ = tokenizer.Encode(maker->template_.suffix, {.parse_special = true});
  maker->FillPools();
  MSA_RETURN_IF_ERROR(maker->CheckPools());
  return maker;
}

bool BatchMaker::IsHeldOut(int64_t passage) const {
  return pack_.Document(passage) % kHeldOutEvery == kHeldOutEvery - 1;
}

void BatchMaker::FillPools() {
  // pool -> source -> entries
  const auto close = [&](std::map<int32_t, std::vector<int64_t>> entries, Pool* pool) {
    for (auto& [source, list] : entries) {
      const std::string& name = pack_.sources()[static_cast<size_t>(source)].name;
      const double factor = WeightOf(config_.source_weights, name);
      if (factor <= 0) continue;
      // The root: a large source counts more than a small one, but does not drown it.
      pool->weights.push_back(factor * std::sqrt(static_cast<double>(list.size())));
      pool->by_source.push_back(std::move(list));
    }
  };
  std::map<int32_t, std::vector<int64_t>> pairs, answered, made, cuts, followed, passages;
  for (int64_t p = 0; p < pack_.num_passages(); ++p) {
    if (IsHeldOut(p)) {
      held_out_.push_back(p);
      continue;
    }
    passages[pack_.PassageSource(p)].push_back(p);
    if (p + 1 < pack_.num_passages() && pack_.Continues(p + 1)) {
      followed[pack_.PassageSource(p)].push_back(p);
    }
  }
  for (int64_t q = 0; q < pack_.num_questions(); ++q) {
    if (IsHeldOut(pack_.Positives(q)[0])) continue;
    const int32_t source = pack_.QuestionSource(q);
    switch (pack_.Kind(q)) {
      case QuestionKind::kStandalone:
      case QuestionKind::kInContext:
        // Which passages a question may mean without its document, a teacher alone knows.
        if (teacher_ != nullptr || pack_.Kind(q) == QuestionKind::kStandalone) {
          pairs[source].push_back(q);
        }
        if (!pack_.Answer(q).empty()) answered[source].push_back(q);
        break;
      case QuestionKind::kCut: cuts[source].push_back(q); break;
      case QuestionKind::kQuotation:
      case QuestionKind::kBlank:
      case QuestionKind::kMention: made[source].push_back(q); break;
    }
  }
  close(std::move(pairs), &pairs_);
  close(std::move(answered), &answered_);
  close(std::move(made), &made_);
  close(std::move(cuts), &cuts_);
  close(std::move(followed), &followed_);
  close(std::move(passages), &passages_);
}

Status BatchMaker::CheckPools() const {
  const auto lacks = [&](const char* what) {
    return FailedPrecondition(pack_.path() + " has no " + what +
                              ", which the phases ask for; add sources to the pack or set the "
                              "shares to 0");
  };
  for (const TrainPhase& phase : config_.phases) {
    const bool memory = phase.reconstruct + phase.stranger + phase.proceed > 0;
    if (memory && phase.cut_share < 1 && pairs_.empty()) return lacks("standalone questions");
    if (memory && phase.cut_share > 0 && cuts_.empty()) return lacks("cut sentences");
    if (phase.proceed > 0 && followed_.empty()) return lacks("documents of several passages");
    if (phase.hard_share > 0 && (teacher_ == nullptr || !teacher_->has_neighbours())) {
      return FailedPrecondition(
          "\"hard_share\" needs a \"teacher\" with neighbours: "
          "scripts/teacher.py writes them unless --neighbours 0");
    }
    if (phase.answer > 0 && phase.made_share < 1 && answered_.empty()) return lacks("answers");
    if (phase.answer > 0 && phase.made_share > 0 && made_.empty()) return lacks("made questions");
  }
  return OkStatus();
}

// Some of them, so that a batch holds several neighbourhoods.
std::vector<int64_t> BatchMaker::NeighboursOf(int64_t question) const {
  std::vector<int64_t> out;
  for (const int32_t q : teacher_->Neighbours(question)) {
    if (std::ssize(out) == kNeighbours) break;
    if (q >= 0 && !IsHeldOut(pack_.Positives(q)[0])) out.push_back(q);
  }
  return out;
}

// What a search for question `id` might find beside what answers it, each once: its negatives, what
// its neighbours ask for, and what stands near its passage, in its document or at least its source.
std::vector<int64_t> BatchMaker::MisleadingPassages(int64_t id) const {
  const std::span<const int32_t> positives = pack_.Positives(id);
  const std::span<const int32_t> negatives = pack_.Negatives(id);
  std::vector<int64_t> out(negatives.begin(), negatives.end());
  if (teacher_ != nullptr) {
    for (const int64_t q : NeighboursOf(id)) out.push_back(pack_.Positives(q)[0]);
  }
  const int64_t last = std::min(positives[0] + kNear, pack_.num_passages() - 1);
  for (int64_t p = std::max<int64_t>(positives[0] - kNear, 0); p <= last; ++p) out.push_back(p);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  std::erase_if(out, [&](int64_t p) {
    return IsHeldOut(p) || std::find(positives.begin(), positives.end(), p) != positives.end();
  });
  return out;
}

TrainStep BatchMaker::Make(int64_t step, int64_t devices) const {
  TrainStep out;
  for (int64_t rank = 0; rank < devices; ++rank) out.batches.push_back(MakeBatch(step, rank));
  out.targets = TargetsOf(out.batches);
  return out;
}

TrainBatch BatchMaker::MakeBatch(int64_t step, int64_t rank) const {
  // Drawn alike on all devices.
  Random shared(config_.seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(step));
  int64_t first = 0;
  const TrainPhase* phase = &config_.phases.back();
  for (const TrainPhase& candidate : config_.phases) {
    phase = &candidate;
    if (step < first + candidate.steps) break;
    first += candidate.steps;
  }
  Builder builder(*this);
  builder.batch.task = static_cast<TrainTask>(
      DrawIndex(shared, {phase->reconstruct, phase->stranger, phase->proceed, phase->answer}));
  std::vector<double> shares;
  for (const auto& [tokens, share] : config_.chunk_shares) shares.push_back(share);
  builder.batch.chunk_tokens =
      std::next(config_.chunk_shares.begin(), DrawIndex(shared, shares))->first;
  const bool hard = Uniform(shared) < phase->hard_share;
  const bool one_source = Uniform(shared) < phase->one_source;
  const Pool& asked = builder.batch.task == TrainTask::kAnswer ? answered_ : pairs_;
  const int64_t source = one_source && !asked.empty() ? asked.DrawSource(shared) : -1;

  Random random(shared() + static_cast<uint64_t>(rank));
  const auto draw_asked = [&] {
    return asked.Draw(random, one_source ? source : asked.DrawSource(random));
  };
  std::vector<int64_t> neighbours;  // of the last pair, not yet in the batch
  if (builder.batch.task == TrainTask::kAnswer) {
    for (int64_t i = 0; i < phase->questions; ++i) {
      const bool made = Uniform(random) < phase->made_share;
      builder.AddQuestion(made ? made_.Draw(random, made_.DrawSource(random)) : draw_asked());
      builder.Answer(random, *phase, i);
    }
  } else {
    if (builder.batch.task == TrainTask::kProceed) {
      // First, because these rows are the ones that are read.
      for (int64_t i = 0; i < phase->questions / 2; ++i) {
        builder.AddPassage(followed_.Draw(random, followed_.DrawSource(random)));
      }
    }
    for (int64_t i = 0; i < phase->questions; ++i) {
      const bool cut = Uniform(random) < phase->cut_share;
      if (cut) {
        const int64_t id = cuts_.Draw(random, cuts_.DrawSource(random));
        const bool leave_out = Uniform(random) < 0.5;
        builder.AddQuestion(id, leave_out ? pack_.Span(id) : Pack::Range{0, 0});
      } else if (!neighbours.empty()) {
        builder.AddQuestion(neighbours.back());
        neighbours.pop_back();
      } else {
        const int64_t id = draw_asked();
        builder.AddQuestion(id);
        if (hard) neighbours = NeighboursOf(id);
      }
    }
  }
  for (int64_t i = 0; i < phase->more_passages; ++i) {
    builder.AddPassage(passages_.Draw(random, passages_.DrawSource(random)));
  }
  if (builder.batch.task != TrainTask::kAnswer) builder.ReadBack(random, *phase);
  return std::move(builder.batch);
}

TrainBatch BatchMaker::MakeCheck(int64_t count, int64_t chunk_tokens) const {
  Builder builder(*this);
  builder.batch.chunk_tokens = chunk_tokens;
  const int64_t available = std::ssize(held_out_);
  for (int64_t i = 0; i < std::min(count, available); ++i) {
    builder.AddPassage(held_out_[static_cast<size_t>(i * available / std::min(count, available))]);
  }
  Random unused;
  builder.ReadBack(unused, TrainPhase());
  return std::move(builder.batch);
}

}  // namespace msa
