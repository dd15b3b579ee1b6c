// What the routing keys of a bank have in common says little about which passage a question is for,
// as common words say little to BM25. So a question's folded query is multiplied, in each routing
// layer, by C^-a: C the covariance of the bank's own keys there, a the adapter's small exponent
// (partial whitening; Su et al. 2021 whiten sentence embeddings in full). Directions in which all
// keys vary count less, rare ones more. Keys stay as they are stored.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "msa/kernels/route.h"

namespace msa {

class KeyWhitening {
 public:
  // Of the visible keys of `runs`: of the same kSamplePassages passages whatever the order and the
  // cut of the runs; nothing that is not visible is read. `layer_dim` is G*D; E is a multiple.
  // Without a visible key, or with exponent 0, it changes nothing.
  static KeyWhitening Of(std::span<const RouterKeysView> runs, int64_t layer_dim, double exponent);

  // `query` [E] f32, folded and not rotated. The size of E is that of the keys (checked).
  void Apply(std::span<float> query) const;

 private:
  static constexpr int64_t kSamplePassages = 256;

  int64_t layer_dim_ = 0;
  std::vector<float> matrices_;  // [R, G*D, G*D], symmetric; empty: the identity
};

}  // namespace msa
