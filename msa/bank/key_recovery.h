// A copy of an encrypted bank that is older than its keyring: what was erased since has no key any
// more, nor have shards that were replaced since. A writer that comes upon it makes the copy what
// it can be: those documents are erased in it too, and the index is built anew from kept text.
#pragma once

#include <set>

#include "msa/bank/erasure.h"
#include "msa/bank/write_transaction.h"

namespace msa {

// Documents whose keys were destroyed; none in a bank without a cipher. Costs a pass over
// documents.
Result<std::set<DocId>> FindDestroyed(WriteTransaction& transaction);

// Does what is said above; no more than a look at each shard where all have their keys. REQUIRES:
// nothing waits for a commit.
Status CatchUpWithKeyring(WriteTransaction& transaction, Erasure& erasure);

}  // namespace msa
