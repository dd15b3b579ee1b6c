// Needles: facts with random names and codes in a haystack of real text; are their passages found,
// and are questions about them answered? Through the engine, as a user would ask.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/engine/engine.h"
#include "msa/eval/data.h"

namespace msa {

enum class NeedleKind {
  kFact,        // one sentence, one answer
  kManyKeys,    // likewise, among sentences that say the same of other names
  kManyValues,  // one name, three sentences, three answers
  kCombined,    // two sentences, each of no use alone
};
inline constexpr int kNeedleKinds = 4;
inline constexpr std::array<std::string_view, kNeedleKinds> kNeedleKindNames = {
    "fact", "keys", "values", "combined"};

struct Needle {
  NeedleKind kind = NeedleKind::kFact;
  std::vector<std::string> sentences;    // all are needed; each has a place of its own
  std::vector<std::string> distractors;  // of the same form, about others
  std::string question;
  std::vector<std::string> answers;  // all must be said
};

// Draws one needle. Names and codes are random, so neither the model nor another needle knows them.
Needle MakeNeedle(NeedleKind kind, std::mt19937_64& random);

// A sentence and where it goes: 0 the beginning of the haystack, 1 its end.
struct Placed {
  double position;
  std::string sentence;
};
// Puts each sentence between two sentences of the documents, at about its share of their bytes.
void PlaceSentences(std::vector<Placed> placed, std::vector<EvalDocument>* documents);

struct NeedleOptions {
  EngineOptions engine;
  std::vector<int64_t> lengths = {16'000, 64'000, 256'000, 1'000'000};  // tokens
  std::vector<NeedleKind> kinds = {NeedleKind::kFact, NeedleKind::kManyKeys,
                                   NeedleKind::kManyValues, NeedleKind::kCombined};
  int64_t positions = 11;  // from 0 to 1
  int64_t sample = 2;      // needles of each kind at each position
  uint64_t seed = 0;
  bool answer = false;
  AskOptions ask;  // heads, k, what is read
};

// An answer without all of the needle's values.
struct MissedNeedle {
  std::string question;
  std::vector<std::string> values;
  std::string answer;
};

struct NeedleCell {
  int64_t needles = 0;
  int64_t found = 0;     // all its sentences stand in the k passages selected
  int64_t answered = 0;  // the answer says all its values
  std::vector<MissedNeedle> missed;
};

struct NeedleReport {
  std::string corpus;
  std::vector<int64_t> lengths;
  int64_t positions = 0;
  bool answered = false;
  // [length][kind][position of the first sentence]
  std::vector<std::array<std::vector<NeedleCell>, kNeedleKinds>> cells;
};

// Position `index` of `positions` as a share of the haystack: 0 to 1; .5 if there is one.
double NeedlePosition(int64_t index, int64_t positions);

NeedleCell Sum(std::span<const NeedleCell> cells);

// Needles make up at most a twentieth of a haystack: where more are asked for they go in several
// rounds over the same text. kInvalidArgument: the corpus is shorter than a length.
Result<NeedleReport> EvaluateNeedles(const std::string& corpus, const NeedleOptions& options);

}  // namespace msa
