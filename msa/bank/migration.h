// The move of a bank to another encoding: made beside the one that answers, then put in its place
// in one commit. The row of `settings` that stands meanwhile says which encoding is being made.
#pragma once

#include <string_view>

#include "msa/bank/catalog.h"
#include "msa/bank/write_transaction.h"

namespace msa {

// The encoding that a migration is making; not valid: none is under way.
Result<EncodingId> ReadPendingMigration(Catalog& catalog);
// Not valid: none is under way any more. REQUIRES: a transaction is open.
Status WritePendingMigration(Catalog& catalog, EncodingId encoding);
// Deletes an encoding and its latents; the files go after the commit. REQUIRES: a transaction is
// open, no tail is.
Status DropEncoding(WriteTransaction& transaction, EncodingId encoding);
// Drops every encoding but the pending one, which is so no longer, and commits; nothing without
// one. REQUIRES: no tail is open.
Status SwitchToPending(WriteTransaction& transaction);

// What the chain commits to when a bank has moved to an encoding.
Digest CommitToEncoding(std::string_view fingerprint);

}  // namespace msa
