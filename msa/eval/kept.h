// Information kept: the share of a text's bits that its own latents save a reader,
// 1 - bits(text | latents) / bits(text).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "msa/engine/engine.h"
#include "msa/eval/metrics.h"
#include "msa/eval/token_kinds.h"

namespace msa {

struct KeptOptions {
  EngineOptions engine;
  std::vector<int64_t> chunk_tokens = {16, 32, 64, 128};  // the rates: P
  int64_t sample = 256;                                   // passages of each corpus
  uint64_t seed = 0;
  int64_t examples = 10;  // worst tokens of each rate
};

// Sums over tokens of one kind.
struct KeptSums {
  int64_t tokens = 0;
  double plain_nats = 0;   // next-token nats of the backbone without memory
  double latent_nats = 0;  // of the reader, the passage's own latents attached
  double kept() const { return plain_nats > 0 ? 1 - latent_nats / plain_nats : 0; }
};

struct WorstToken {
  std::string before, token, after;  // in context
  double plain_nats = 0, latent_nats = 0;
  TokenKind kind = TokenKind::kCode;
};

struct KeptRate {
  int64_t chunk_tokens = 0;
  KeptSums all;
  double standard_error = 0;  // of all.kept(), over passages
  std::array<KeptSums, kTokenKinds> by_kind;
  std::vector<KeptSums> by_corpus;  // in the order given
  std::vector<WorstToken> worst;    // most nats left first, one a passage
};

struct KeptReport {
  std::vector<std::string> corpora;
  int64_t passages = 0;
  std::vector<KeptRate> rates;  // in the order asked for
};

// The first token of a passage is predicted from nothing and counted in neither sum. The model is
// loaded once a rate, for its configuration is fixed when it is loaded.
Result<KeptReport> EvaluateKept(const std::vector<std::string>& corpora,
                                const KeptOptions& options);

}  // namespace msa
