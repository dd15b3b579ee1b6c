#include "msa/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "msa/base/check.h"

namespace msa {
namespace {

double Discount(int64_t index) { return 1 / std::log2(static_cast<double>(index) + 2); }

std::vector<std::string> Words(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

double WordF1(std::string_view answer, std::string_view expected) {
  std::vector<std::string> a = Words(NormaliseAnswer(answer));
  std::vector<std::string> b = Words(NormaliseAnswer(expected));
  if (a.empty() || b.empty()) return a.empty() && b.empty() ? 1 : 0;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  std::vector<std::string> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return 2 * static_cast<double>(common.size()) / static_cast<double>(a.size() + b.size());
}

}  // namespace

double Ndcg(std::span<const std::string> ranking, const Relevance& relevant, int64_t depth) {
  double gain = 0;
  for (int64_t i = 0; i < std::min<int64_t>(depth, std::ssize(ranking)); ++i) {
    const auto it = relevant.find(ranking[static_cast<size_t>(i)]);
    if (it != relevant.end()) gain += it->second * Discount(i);
  }
  std::vector<double> best;
  for (const auto& [id, rel] : relevant) best.push_back(rel);
  std::sort(best.rbegin(), best.rend());
  double ideal = 0;
  for (int64_t i = 0; i < std::min<int64_t>(depth, std::ssize(best)); ++i) {
    ideal += best[static_cast<size_t>(i)] * Discount(i);
  }
  return ideal > 0 ? gain / ideal : 0;
}

double Recall(std::span<const std::string> ranking, const Relevance& relevant, int64_t depth) {
  if (relevant.empty()) return 0;
  int64_t found = 0;
  for (int64_t i = 0; i < std::min<int64_t>(depth, std::ssize(ranking)); ++i) {
    found += relevant.contains(ranking[static_cast<size_t>(i)]) ? 1 : 0;
  }
  return static_cast<double>(found) / static_cast<double>(relevant.size());
}

double ReciprocalRank(std::span<const std::string> ranking, const Relevance& relevant) {
  for (size_t i = 0; i < ranking.size(); ++i) {
    if (relevant.contains(ranking[i])) return 1 / static_cast<double>(i + 1);
  }
  return 0;
}

Hub LargestHub(std::span<const std::vector<std::string>> rankings) {
  std::map<std::string, int64_t> wins;
  for (const auto& ranking : rankings) {
    if (!ranking.empty()) ++wins[ranking.front()];
  }
  Hub hub;
  for (const auto& [document, count] : wins) {
    const double share = static_cast<double>(count) / static_cast<double>(rankings.size());
    if (share > hub.share) hub = {document, share};
  }
  return hub;
}

Estimate RatioEstimate(std::span<const double> values, std::span<const double> weights) {
  MSA_CHECK(values.size() == weights.size());
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (total <= 0) return {};
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / total;
  const auto n = static_cast<double>(values.size());
  if (n < 2) return {mean, 0};
  double squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double residual = values[i] - mean * weights[i];
    squares += residual * residual;
  }
  return {mean, std::sqrt(n / (n - 1) * squares) / total};
}

std::string NormaliseAnswer(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::ispunct(byte) != 0) continue;
    plain += byte < 0x80 ? static_cast<char>(std::tolower(byte)) : c;
  }
  std::string joined;
  for (const std::string& word : Words(plain)) {
    if (word == "a" || word == "an" || word == "the") continue;
    joined += (joined.empty() ? "" : " ") + word;
  }
  return joined;
}

bool ExactMatch(std::string_view answer, std::span<const std::string> expected) {
  const std::string normal = NormaliseAnswer(answer);
  return std::any_of(expected.begin(), expected.end(),
                     [&](const std::string& e) { return NormaliseAnswer(e) == normal; });
}

double AnswerF1(std::string_view answer, std::span<const std::string> expected) {
  double best = 0;
  for (const std::string& e : expected) best = std::max(best, WordF1(answer, e));
  return best;
}

}  // namespace msa
