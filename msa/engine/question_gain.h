// Whether a passage is about a question, as the model sees it: by how many nats its text makes the
// question likelier, ln p(question | text) - ln p(question). Query likelihood, as Ponte and Croft
// (1998) rank by, of a language model that has read the text. It tells where words do not: a long
// question shares few of its words with the passage that answers it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "msa/engine/cite.h"
#include "msa/model/memory_model.h"

namespace msa {

class QuestionGain {
 public:
  // Borrows `model` and what `question` and `sources` refer to. Nothing is computed yet.
  QuestionGain(MemoryModel& model, std::string_view question,
               std::span<const SourcePassage> sources);

  // Whether passage `index` of the sources is about the question. Costs a forward pass over both,
  // so of the first kMaxPassages different passages only; no later one is.
  Result<bool> IsAbout(int64_t index);

 private:
  static constexpr size_t kMaxPassages = 4;

  // Nats of the question after `text`; nothing where the context does not hold both.
  Result<std::optional<double>> Nats(const std::string& text);

  MemoryModel& model_;
  const std::string_view question_;
  const std::span<const SourcePassage> sources_;
  std::optional<double> alone_;       // nats of the question after nothing
  std::map<int64_t, bool> is_about_;  // of the passages asked for
};

}  // namespace msa
