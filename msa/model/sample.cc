// MemoryModel::Sample: temperature, top k, top p.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "msa/base/hash.h"
#include "msa/model/memory_model.h"

namespace msa {
namespace {

// SplitMix64 of (seed, step): one uniform number in [0, 1), the same on every machine and whatever
// was drawn before.
double UniformAt(uint64_t seed, uint64_t step) {
  const uint64_t mixed = Mix64(seed + 0x9e3779b97f4a7c15u * step);
  return static_cast<double>(mixed >> 11) * 0x1.0p-53;
}

}  // namespace

TokenId MemoryModel::Sample(std::span<const float> logits, const SamplingOptions& options,
                            uint64_t step) {
  MSA_CHECK(!logits.empty());
  const auto best = std::max_element(logits.begin(), logits.end());
  if (options.temperature <= 0) return static_cast<TokenId>(best - logits.begin());

  // Candidates, likeliest first; equal logits in the order of ids.
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](TokenId a, TokenId b) {
    const float x = logits[static_cast<size_t>(a)];
    const float y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  size_t keep = ids.size();
  if (options.top_k > 0) keep = std::min(keep, static_cast<size_t>(options.top_k));
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep), ids.end(),
                    likelier);
  ids.resize(keep);

  std::vector<double> mass(keep);
  for (size_t i = 0; i < keep; ++i) {
    mass[i] = std::exp((logits[static_cast<size_t>(ids[i])] - *best) / options.temperature);
  }
  double total = std::accumulate(mass.begin(), mass.end(), 0.0);
  if (options.top_p < 1) {
    // The fewest tokens whose mass reaches top_p; at least one.
    const double wanted = options.top_p * total;
    double reached = 0;
    size_t n = 0;
    do reached += mass[n++];
    while (n < keep && reached < wanted);
    mass.resize(n);
    total = reached;
  }
  double left = UniformAt(options.seed, step) * total;
  for (size_t i = 0; i < mass.size(); ++i) {
    left -= mass[i];
    if (left < 0) return ids[i];
  }
  return ids[mass.size() - 1];  // rounding left a sliver
}

}  // namespace msa
