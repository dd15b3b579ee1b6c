// The file `head`: what the last acknowledged commit was, in two slots that are written in turn, so
// that a torn write leaves the older one. It lets a reader notice a catalog that lost its newest
// commits. docs/bank-format.md, "head", is the layout.
#pragma once

#include <cstdint>
#include <memory>

#include "msa/bank/layout.h"
#include "msa/base/file.h"
#include "msa/base/hash.h"
#include "msa/base/status.h"

namespace msa {

struct Head {
  int64_t commit_number = 0;
  int64_t revision = 0;
  int64_t chain_length = 0;
  Digest chain_head{};
  int64_t erase_epoch = 0;
  friend bool operator==(const Head&, const Head&) = default;
};

inline constexpr int64_t kHeadBytes = 8192;

// The newer valid slot; kDataLoss if neither is valid or they belong to another bank.
Result<Head> ReadHead(const File& file, const BankId& bank);
// Writes the slot of head.commit_number and syncs. The other slot stays as it was.
Status WriteHead(File& file, const BankId& bank, const Head& head);
// Both slots of a new bank.
Status InitializeHead(File& file, const BankId& bank, const Head& head);
// A new file in the place of the one that is there, whatever its slots hold; by renaming, so that
// one of the two is whole whenever it stops.
Status ReplaceHead(FileSystem& fs, const BankLayout& layout, const BankId& bank, const Head& head);

}  // namespace msa
