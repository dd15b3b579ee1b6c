#include "msa/engine/hop.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "msa/text/whitespace.h"

namespace msa {
namespace {

constexpr int64_t kNamingPassages = 3;
// Of what the words of a naming passage find, so many are asked for their titles.
constexpr int64_t kCandidates = 100;
constexpr float kDeviations = 4;
// Shorter titles stand in texts by chance.
constexpr size_t kShortestName = 4;

bool IsAsciiWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Whether `name` stands in `text` as whole words. REQUIRES: `name` is not empty.
bool Names(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    const bool begins = at == 0 || !IsAsciiWord(text[at - 1]) || !IsAsciiWord(name.front());
    const bool ends = end == text.size() || !IsAsciiWord(text[end]) || !IsAsciiWord(name.back());
    if (begins && ends) return true;
  }
  return false;
}

// "Big Eyes" of "Big Eyes (film)".
std::string_view NameOf(std::string_view title) {
  title = Trim(title);
  const size_t open = title.ends_with(')') ? title.rfind('(') : std::string_view::npos;
  return open == std::string_view::npos ? title : Trim(title.substr(0, open));
}

// What the first kNamingPassages of `found` name, as FuseInHops says.
Result<RankedList> FindNamed(const Snapshot& snapshot, ResultReader& reader, std::string_view query,
                             const LabelFilter& where, const std::vector<FusedPassage>& found) {
  std::unordered_map<PassageId, float> scores;
  const int64_t naming = std::min(kNamingPassages, std::ssize(found));
  for (int64_t rank = 0; rank < naming; ++rank) {
    MSA_ASSIGN_OR_RETURN(const Retrieved naming_passage,
                         reader.Read(found[static_cast<size_t>(rank)].passage));
    const std::string& text = naming_passage.text;
    MSA_ASSIGN_OR_RETURN(const auto hits, snapshot.SearchLexical(text, kCandidates, where));
    for (const LexicalHit& hit : hits) {
      MSA_ASSIGN_OR_RETURN(const auto address, snapshot.FindPassage(hit.passage));
      if (address.version == naming_passage.version) continue;
      MSA_ASSIGN_OR_RETURN(const DocumentInfo document, snapshot.GetDocument(address.version));
      const std::string_view name = NameOf(document.title);
      if (name.size() < kShortestName || !Names(text, name) || Names(query, name)) continue;
      scores.try_emplace(hit.passage, kDeviations / static_cast<float>(rank + 1));
    }
  }
  RankedList named{.standardised = true};
  for (const auto& [passage, score] : scores) named.hits.push_back({passage, score});
  std::sort(named.hits.begin(), named.hits.end(), [](const auto& a, const auto& b) {
    return a.score != b.score ? a.score > b.score : a.passage < b.passage;
  });
  return named;
}

}  // namespace

Result<std::vector<FusedPassage>> FuseInHops(const Snapshot& snapshot, ResultReader& reader,
                                             std::string_view query, const LabelFilter& where,
                                             std::vector<RankedList> heads, int64_t hops, int64_t k,
                                             std::vector<LexicalHit>* named) {
  const int64_t depth = hops > 1 ? std::max(k, kNamingPassages) : k;
  std::vector<FusedPassage> fused = FuseScores(heads, depth);
  heads.emplace_back();
  for (int64_t hop = 2; hop <= hops; ++hop) {
    MSA_ASSIGN_OR_RETURN(heads.back(), FindNamed(snapshot, reader, query, where, fused));
    fused = FuseScores(heads, depth);
  }
  if (named != nullptr) *named = std::move(heads.back().hits);
  if (std::ssize(fused) > k) fused.resize(static_cast<size_t>(std::max<int64_t>(k, 0)));
  return fused;
}

}  // namespace msa
