// What a training step works on. A batch is a function of the configuration and the step's number
// alone, so a resumed run sees what an unbroken one would have seen.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "msa/text/chat_template.h"
#include "msa/train/losses.h"
#include "msa/train/pack.h"
#include "msa/train/teacher.h"
#include "msa/train/token_rows.h"
#include "msa/train/train_config.h"
#include "msa/train/train_model.h"

namespace msa {

enum class TrainTask { kReconstruct, kStranger, kProceed, kAnswer };

struct TrainBatch {
  TrainTask task = TrainTask::kReconstruct;
  int64_t chunk_tokens = 0;
  TokenRows passages;
  TokenRows questions;  // with their template
  // Where they stand in the pack, for the teacher.
  std::vector<int64_t> passage_ids;
  std::vector<int64_t> question_ids;
  std::vector<int64_t> asked;  // [questions]: the passage of each, an index into `passages`
  // Questions that make sense without their document, ascending: only of these is the passage asked
  // for the right one and all others wrong. A teacher knows better, and teaches all.
  std::vector<int64_t> routable;
  // Its `attached` is empty in an answer step: routing fills it in.
  ReaderRows read;

  // The rows of `read` once more as the backbone alone is told them: of an answer step with a
  // `text_teacher` with the text that answers in their prompts, of a stranger step with a
  // `stranger_teacher` as they are. Its predictions of the targets, the same in the same order, are
  // what `read` is taught.
  ReaderRows told;

  // Of an answer step, one a row of `read`.
  struct AnswerRow {
    int64_t question = 0;  // in the batch
    bool absent = false;   // nothing that answers it may be attached
    int64_t attach = 1;    // passages, if there are as many
    // Passages that come first: those that answer it or, where its prompt holds texts, all of
    // these.
    std::vector<int64_t> first;
  };
  std::vector<AnswerRow> answer_rows;
};

// What all devices do at once.
struct TrainStep {
  std::vector<TrainBatch> batches;  // one a device; of the same task, chunk size and source
  RoutingTargets targets;           // of all questions over all passages, one batch after another
};

class BatchMaker {
 public:
  // What it refers to outlives the maker. kFailedPrecondition: the pack lacks what the
  // phases ask for.
  // `teacher` may be null.
  static Result<std::unique_ptr<BatchMaker>> Create(const TrainConfig& config, const Pack& pack,
                                                    const Teacher* teacher,
                                                    const Tokenizer& tokenizer, ChatFamily family);

  // `step` counts from 0 over all phases. Any thread.
  TrainStep Make(int64_t step, int64_t devices) const;
  // Passages that are never trained on, `count` of them, the same for every call, in one batch that
  // reads them back.
  TrainBatch MakeCheck(int64_t count, int64_t chunk_tokens) const;
  const QuestionTemplate& question_template() const { return template_; }

 private:
  using Random = std::mt19937_64;

  // Entries of one source, drawn by the source's weight.
  struct Pool {
    std::vector<std::vector<int64_t>> by_source;
    std::vector<double> weights;
    int64_t Draw(Random& random, int64_t source) const;
    int64_t DrawSource(Random& random) const;
    bool empty() const { return by_source.empty(); }
  };
  class Builder;

  BatchMaker(const TrainConfig& config, const Pack& pack, const Teacher* teacher,
             const Tokenizer& tokenizer, ChatFamily family)
      : config_(config), pack_(pack), teacher_(teacher), tokenizer_(tokenizer), family_(family) {}
  TrainBatch MakeBatch(int64_t step, int64_t rank) const;
  RoutingTargets TargetsOf(std::span<const TrainBatch> batches) const;
  void FillPools();
  Status CheckPools() const;
  // Kept for validation: every 500th document, and the questions about it.
  bool IsHeldOut(int64_t passage) const;
  std::vector<int64_t> NeighboursOf(int64_t question) const;
  std::vector<int64_t> MisleadingPassages(int64_t question) const;

  const TrainConfig config_;
  const Pack& pack_;
  const Teacher* const teacher_;
  const Tokenizer& tokenizer_;
  const ChatFamily family_;
  QuestionTemplate template_;
  std::vector<TokenId> prefix_, suffix_;  // of the template
  Pool pairs_;                            // questions with a passage that teach routing
  Pool answered_;                         // questions of pairs with an answer
  Pool made_;                             // quotations, blanks and mentions
  Pool cuts_;                             // sentences of passages
  Pool followed_;                         // passages that a next one follows
  Pool passages_;                         // all
  std::vector<int64_t> held_out_;
};

}  // namespace msa
