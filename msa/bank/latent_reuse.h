// A changed document keeps the latents of what did not change. Passages are encoded alone, so equal
// tokens have equal latents: those of an older version are copied, and only the rest is left to the
// model.
#pragma once

#include <cstdint>
#include <span>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/latent_writer.h"
#include "msa/bank/write_transaction.h"

namespace msa {

// Gives `version`, whose passages are `passages`, the latents that `older` has of passages with the
// same tokens, in every encoding. Returns how many passages got them in the newest encoding. An
// older version that is damaged gives nothing: replacing a document is how one gets rid of damage.
Result<int64_t> ReuseLatents(WriteTransaction& transaction, LatentWriter& writer,
                             const VersionRow& older, VersionId version,
                             std::span<const NewPassage> passages);

}  // namespace msa
