// Finds what is damaged in the files of a bank, each frame, block and shard by itself.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/core.h"
#include "msa/bank/file_runs.h"
#include "msa/bank/latents.h"
#include "msa/base/progress.h"

namespace msa {

struct Damage {
  // A file that is missing, too short, or has something wrong in it.
  std::vector<Catalog::FileRow> files;
  std::vector<VersionRow> texts;     // ascending by version
  std::vector<LatentPlace> latents;  // of them, and those damaged themselves
  std::vector<Catalog::ShardRow> shards;
};

// Reads every file of the bank, of which any may be missing. `distrusts_places`: counts all latents
// as damaged, because the rows that say whose they are may be.
Result<Damage> FindDamage(BankCore& core, Catalog& catalog, bool distrusts_places,
                          ProgressMode progress = ProgressMode::kOff);

}  // namespace msa
