#include "msa/engine/question_gain.h"

#include <numeric>
#include <vector>

namespace msa {
namespace {

// Of 75 questions put to banks about something else, no passage found for any gained as much; of
// 54 questions with the right passage found 40 did (docs/decisions/0015-questions-and-evidence.md).
constexpr double kMinGainNats = 20;

}  // namespace

QuestionGain::QuestionGain(MemoryModel& model, std::string_view question,
                           std::span<const SourcePassage> sources)
    : model_(model), question_(question), sources_(sources) {}

Result<std::optional<double>> QuestionGain::Nats(const std::string& text) {
  std::vector<TokenId> tokens = model_.tokenizer().Encode(text + "Question:");
  const auto first = static_cast<int64_t>(tokens.size());
  const std::vector<TokenId> question =
      model_.tokenizer().Encode(std::string(" ").append(question_));
  tokens.insert(tokens.end(), question.begin(), question.end());
  if (std::ssize(tokens) > model_.backbone().context_tokens) return std::optional<double>();
  const ScoreRow row{tokens, nullptr, first};
  MSA_ASSIGN_OR_RETURN(const auto nats, model_.Score({&row, 1}));
  return std::optional(std::accumulate(nats[0].begin(), nats[0].end(), 0.0));
}

Result<bool> QuestionGain::IsAbout(int64_t index) {
  const auto known = is_about_.find(index);
  if (known != is_about_.end()) return known->second;
  if (is_about_.size() == kMaxPassages) return false;
  if (!alone_) {
    MSA_ASSIGN_OR_RETURN(alone_, Nats(""));
  }
  const SourcePassage& source = sources_[static_cast<size_t>(index)];
  MSA_ASSIGN_OR_RETURN(const std::optional<double> after,
                       Nats(std::string(source.title) + ": " + std::string(source.text) + "\n\n"));
  return is_about_[index] = alone_ && after && *alone_ - *after >= kMinGainNats;
}

}  // namespace msa
