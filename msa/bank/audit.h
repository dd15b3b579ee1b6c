// Verifies a bank from its chain down to every byte that can be read. What the chain commits to
// (who, when, which document with which fields and text) is recomputed from the rows that are kept;
// what is derived (frames, latents, shards, totals) is checked against what it derives from or
// against its checksums.
#pragma once

#include <cstdint>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/certificate.h"
#include "msa/bank/chain.h"
#include "msa/bank/core.h"
#include "msa/bank/head.h"

namespace msa {

// A chain that was read, its hashes recomputed.
struct VerifiedChain {
  std::vector<ChainEntry> entries;  // seq 1 on
  std::vector<Digest> hashes;       // of each
};
// For messages: "document notes.txt (version 7)"; by its id where it cannot be read.
std::string Describe(const VersionRow& version);

// kDataLoss names the first entry that does not follow from the one before, or differs from
// `head`.
Result<VerifiedChain> VerifyChain(Catalog& catalog, const Head& head);

// The catalog may be one commit ahead of the head, where a writer stopped between the two; what
// the head says must then be a state that the chain went through. kDataLoss otherwise.
Status CheckHead(const Head& catalog, const Head& head, const VerifiedChain& chain);
// SQLite's own check of the catalog.
Status CheckIntegrity(Catalog& catalog);

// Revisions, versions and deaths against the chain, and what is derived from them. Of documents
// without a key, and of revisions without keys, what is in plain: entries of the same document and
// revision must be there, but what they commit to is not known. `secret`: BankCore::lookup_secret.
Status VerifyRows(Catalog& catalog, const CatalogState& state, const BankId& secret,
                  const VerifiedChain& chain, ProgressMode progress = ProgressMode::kOff);

// Every frame that there is a key of decodes to the text its version's hash names, every checksum
// fits, and bytes of packs and tails that nothing names are zero. Returns the bytes verified.
Result<int64_t> VerifyContents(BankCore& core, Catalog& catalog,
                               ProgressMode progress = ProgressMode::kOff);

// What Bank::Audit does.
Result<AuditReport> AuditBank(BankCore& core, const Certificate* anchor,
                              ProgressMode progress = ProgressMode::kOff);

}  // namespace msa
