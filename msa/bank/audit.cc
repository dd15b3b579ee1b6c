#include "msa/bank/audit.h"

#include <algorithm>

#include "msa/bank/certificate.h"

namespace msa {
namespace {

constexpr int kAttempts = 5;

// What only keys tell.
constexpr const char* kSealedAlone[] = {
    "texts, names, labels, authors and messages are those that the chain commits to",
    "names and labels are found under their hashes",
    "every sealed text, latent, page of a lexical shard and column opens, in its own place",
};

Status CheckAnchor(const Certificate& anchor, const BankId& bank, const VerifiedChain& chain) {
  if (anchor.bank != bank) {
    return FailedPrecondition("the certificate is of bank " + HexEncode(anchor.bank) +
                              ", this is bank " + HexEncode(bank));
  }
  const auto length = static_cast<int64_t>(chain.hashes.size());
  if (anchor.chain_length > length) {
    return DataLoss("the chain has " + std::to_string(length) + " entries, but had " +
                    std::to_string(anchor.chain_length) +
                    " when the certificate was signed: the bank was rolled back");
  }
  const bool same =
      anchor.chain_length == 0 || chain.hashes[anchor.chain_length - 1] == anchor.chain_head;
  if (!same) {
    return DataLoss("chain entry " + std::to_string(anchor.chain_length) +
                    " is not the one that the certificate was signed at: history was rewritten");
  }
  const auto names_key = [&](const ChainEntry& entry) {
    return entry.operation == ChainOperation::kSigningKey && entry.commitment == anchor.public_key;
  };
  if (std::ranges::none_of(chain.entries, names_key)) {
    return DataLoss("the certificate is signed with a key that this bank's chain does not name");
  }
  return OkStatus();
}

Result<AuditReport> AuditOnce(BankCore& core, Catalog& catalog, const Certificate* anchor,
                              ProgressMode progress, int64_t* commit_number) {
  MSA_ASSIGN_OR_RETURN(const auto head_file, core.fs.Open(core.layout.head(), OpenMode::kRead));
  const auto head = ReadHead(*head_file, core.identity.id);  // before the catalog: never ahead
  if (!head.ok()) return head.status();
  MSA_RETURN_IF_ERROR(catalog.db().Execute("BEGIN"));
  MSA_ASSIGN_OR_RETURN(const CatalogState state, catalog.ReadState());
  *commit_number = state.head.commit_number;
  MSA_RETURN_IF_ERROR(CheckIntegrity(catalog));
  MSA_ASSIGN_OR_RETURN(const VerifiedChain chain, VerifyChain(catalog, state.head));
  MSA_RETURN_IF_ERROR(CheckHead(state.head, *head, chain));
  if (anchor != nullptr) MSA_RETURN_IF_ERROR(CheckAnchor(*anchor, core.identity.id, chain));
  MSA_RETURN_IF_ERROR(VerifyRows(catalog, state, core.lookup_secret(), chain, progress));
  AuditReport report;
  MSA_ASSIGN_OR_RETURN(report.verified_bytes, VerifyContents(core, catalog, progress));
  report.revisions = state.head.revision;
  report.chain_entries = state.head.chain_length;
  report.chain_head = HexEncode(state.head.chain_head);
  report.erase_epoch = state.head.erase_epoch;
  if (core.cipher != nullptr && !core.cipher->has_keys()) {
    report.unchecked.assign(std::begin(kSealedAlone), std::end(kSealedAlone));
  }
  return report;
}

}  // namespace

std::string Describe(const VersionRow& version) {
  const DocumentInfo& info = version.info;
  return "document " + (version.is_readable ? info.key : std::to_string(info.id.value)) +
         " (version " + std::to_string(info.version.value) + ")";
}

Status CheckIntegrity(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(Statement check, catalog.db().Prepare("PRAGMA integrity_check(1)"));
  MSA_ASSIGN_OR_RETURN(const bool row, check.Step());
  if (row && check.Text(0) == "ok") return OkStatus();
  return DataLoss("catalog.sqlite: " + std::string(row ? check.Text(0) : "no answer"));
}

Status CheckHead(const Head& catalog, const Head& head, const VerifiedChain& chain) {
  if (head == catalog) return OkStatus();
  const bool is_older =
      head.commit_number < catalog.commit_number && head.revision <= catalog.revision &&
      head.erase_epoch <= catalog.erase_epoch && head.chain_length <= catalog.chain_length;
  const Digest hash =
      head.chain_length > 0 && is_older ? chain.hashes[head.chain_length - 1] : Digest{};
  if (is_older && hash == head.chain_head) return OkStatus();
  return DataLoss("head: commit " + std::to_string(head.commit_number) + ", chain entry " +
                  std::to_string(head.chain_length) + "; the catalog is at commit " +
                  std::to_string(catalog.commit_number) + ", chain entry " +
                  std::to_string(catalog.chain_length) + ", which does not continue from that");
}

Result<AuditReport> AuditBank(BankCore& core, const Certificate* anchor, ProgressMode progress) {
  for (int attempt = 1;; ++attempt) {
    MSA_ASSIGN_OR_RETURN(Catalog catalog, core.OpenAnotherCatalog());
    int64_t commit_number = -1;
    auto report = AuditOnce(core, catalog, anchor, progress, &commit_number);
    if (report.ok() || attempt == kAttempts) return report;
    // A writer may have removed a file in the meantime; then its commit shows, and we look again.
    MSA_ASSIGN_OR_RETURN(Catalog now, core.OpenAnotherCatalog());
    const auto state = now.ReadState();
    if (!state.ok() || state->head.commit_number == commit_number) return report;
  }
}

}  // namespace msa
