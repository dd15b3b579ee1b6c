// A signed statement about a bank: its chain had this length and this head, and, if it certifies an
// erasure, these documents were erased before. It holds no content and no fingerprint of content:
// documents are named by their random numbers in the chain. docs/bank-format.md, "Certificates".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/chain.h"
#include "msa/bank/layout.h"
#include "msa/bank/signing.h"
#include "msa/base/hash.h"
#include "msa/base/status.h"

namespace msa {

struct Certificate {
  BankId bank{};
  int64_t issued_unix_ms = 0;
  int64_t chain_length = 0;
  Digest chain_head{};
  int64_t erase_epoch = 0;
  std::vector<RandomNumber> erased;  // empty: it certifies the chain only
  PublicKey public_key{};
  Signature signature{};

  void SignWith(const SigningKey& key);
  // JSON, ends with a line feed.
  std::string Serialize() const;
  // kInvalidArgument: no certificate. kUnimplemented: a newer one. kDataLoss: the signature does
  // not fit what it says.
  static Result<Certificate> Parse(std::string_view text);
};

}  // namespace msa
