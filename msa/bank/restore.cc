#include <unistd.h>

#include <filesystem>
#include <set>

#include "msa/bank/audit.h"
#include "msa/bank/backup.h"
#include "msa/bank/bytes.h"
#include "msa/bank/certificate.h"
#include "msa/bank/copy.h"
#include "msa/bank/erasure.h"
#include "msa/bank/key_recovery.h"
#include "msa/bank/new_bank_place.h"
#include "msa/bank/revision_writer.h"

namespace msa {
namespace {

constexpr char kMessage[] = "restore: erased after the backup was made";

// What was erased from a bank, as its later states and its certificates say.
struct Erasures {
  std::set<RandomNumber> numbers;                        // of documents in the chain
  std::vector<std::pair<std::string, int64_t>> lookups;  // rows of `erased`: key, time
};

Status AddFromBank(FileSystem& fs, const std::string& path, const BankId& bank,
                   Erasures* erasures) {
  // Only two tables are read: the rest of the bank may be what restoring is for.
  const BankLayout layout{path};
  MSA_ASSIGN_OR_RETURN(const BankIdentity identity, ReadIdentity(fs, layout));
  if (identity.id != bank) {
    return FailedPrecondition(path + " is another bank, " + HexEncode(identity.id) +
                              "; the backup is of " + HexEncode(bank));
  }
  const bool read_only = ::access(path.c_str(), W_OK) != 0;
  MSA_ASSIGN_OR_RETURN(Catalog catalog, OpenCatalogForReading(fs, layout, read_only));
  MSA_ASSIGN_OR_RETURN(Statement entries,
                       catalog.db().Prepare("SELECT number FROM chain WHERE operation = ?1"));
  entries.Bind(static_cast<int64_t>(ChainOperation::kErase));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, entries.Step());
    if (!row) break;
    RandomNumber number{};
    if (!CopyBlob(entries.Blob(0), &number)) return DataLoss("the chain is damaged");
    erasures->numbers.insert(number);
  }
  MSA_ASSIGN_OR_RETURN(Statement rows, catalog.db().Prepare("SELECT lookup, time FROM erased"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return OkStatus();
    erasures->lookups.emplace_back(AsChars(rows.Blob(0)), rows.Int(1));
  }
}

Status AddFromCertificate(const std::string& path, const BankId& bank, Erasures* erasures) {
  MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxCertificateBytes));
  MSA_ASSIGN_OR_RETURN(const Certificate certificate, Certificate::Parse(text));
  if (certificate.bank != bank) {
    return FailedPrecondition(path + " is of bank " + HexEncode(certificate.bank) +
                              "; the backup is of " + HexEncode(bank));
  }
  erasures->numbers.insert(certificate.erased.begin(), certificate.erased.end());
  return OkStatus();
}

Result<Erasures> ReadErasures(FileSystem& fs, const std::vector<std::string>& paths,
                              const BankId& bank) {
  Erasures erasures;
  for (const std::string& path : paths) {
    std::error_code ignored;
    const Status status = std::filesystem::is_directory(path, ignored)
                              ? AddFromBank(fs, path, bank, &erasures)
                              : AddFromCertificate(path, bank, &erasures);
    MSA_RETURN_IF_ERROR(status.WithContext("what was erased, by " + path));
  }
  return erasures;
}

// Those of a bank that were erased, ascending.
Result<std::set<DocId>> FindErased(Catalog& catalog, const Erasures& erasures) {
  std::set<DocId> documents;
  MSA_ASSIGN_OR_RETURN(
      Statement find,
      catalog.db().Prepare("SELECT id FROM documents WHERE number = ?1 OR lookup = ?2"));
  const auto add = [&](std::span<const std::byte> number, std::string_view lookup) -> Status {
    find.Bind(number, BlobOf(lookup));
    while (true) {
      MSA_ASSIGN_OR_RETURN(const bool row, find.Step());
      if (!row) return OkStatus();
      documents.insert(DocId{find.Int(0)});
    }
  };
  for (const RandomNumber& number : erasures.numbers) MSA_RETURN_IF_ERROR(add(number, {}));
  for (const auto& [lookup, time] : erasures.lookups) MSA_RETURN_IF_ERROR(add({}, lookup));
  return documents;
}

class Restore {
 public:
  Restore(const std::string& backup, const std::string& bank, const RestoreOptions& options,
          FileSystem& fs)
      : backup_(backup), place_(fs, bank, ".restoring"), options_(options), fs_(fs) {}

  Result<RestoreReport> Run() {
    MSA_RETURN_IF_ERROR(place_.CheckFree());
    MSA_ASSIGN_OR_RETURN(const auto from, OpenCore(backup_, fs_));
    MSA_ASSIGN_OR_RETURN(const Erasures erasures,
                         ReadErasures(fs_, options_.current, from->identity.id));
    MSA_RETURN_IF_ERROR(place_.RemoveInterrupted());
    MSA_ASSIGN_OR_RETURN(const BackupReport copied,
                         BankCopy(*from, place_.folder(), fs_, options_).Run());
    report_.copied_bytes = copied.copied_bytes;
    MSA_RETURN_IF_ERROR(Finish(erasures));
    MSA_RETURN_IF_ERROR(place_.Publish());
    return report_;
  }

 private:
  // The folder is made what the bank is to be.
  Status Finish(const Erasures& erasures) {
    MSA_ASSIGN_OR_RETURN(const auto core, OpenCore(place_.folder(), fs_));
    const auto audit = AuditBank(*core, nullptr, options_.progress);
    MSA_RETURN_IF_ERROR(audit.status().WithContext("the backup is damaged"));
    MSA_ASSIGN_OR_RETURN(auto transaction, WriteTransaction::Start(core));
    MSA_ASSIGN_OR_RETURN(auto documents, FindErased(transaction->catalog(), erasures));
    if (options_.readmit) {
      MSA_RETURN_IF_ERROR(NameReadmitted(transaction->catalog(), documents));
    } else {
      // The keyring tells too, which no choice brings back.
      MSA_ASSIGN_OR_RETURN(const auto destroyed, FindDestroyed(*transaction));
      documents.insert(destroyed.begin(), destroyed.end());
      MSA_RETURN_IF_ERROR(Erase(*transaction, documents));
      MSA_RETURN_IF_ERROR(Remember(*transaction, erasures));
    }
    const Head& head = transaction->state().head;
    report_.revision = RevisionId{head.revision};
    MSA_ASSIGN_OR_RETURN(const RevisionTotals totals,
                         transaction->catalog().ReadTotals(head.revision));
    report_.documents = totals.documents;
    return OkStatus();
  }

  Status Erase(WriteTransaction& transaction, const std::set<DocId>& documents) {
    RevisionWriter revision(transaction, options_.author);
    Erasure erasure(transaction, revision, options_.progress);
    if (!documents.empty()) {
      const std::vector<DocId> list(documents.begin(), documents.end());
      MSA_RETURN_IF_ERROR(erasure.Intend(list, kMessage));
    }
    // Also what the bank was erasing when it was backed up.
    MSA_ASSIGN_OR_RETURN(const EraseReport erased, erasure.Proceed());
    report_.erased = erased.numbers;
    if (erased.waits_for.empty()) return CatchUpWithKeyring(transaction, erasure);
    return Unavailable(place_.folder() + ": erasing waits for " + erased.waits_for);
  }

  // Ids that the backup does not know must not come back by adding them either.
  static Status Remember(WriteTransaction& transaction, const Erasures& erasures) {
    if (erasures.lookups.empty()) return OkStatus();
    MSA_RETURN_IF_ERROR(transaction.Begin());
    MSA_ASSIGN_OR_RETURN(Statement insert, transaction.catalog().db().Prepare(
                                               "INSERT OR IGNORE INTO erased VALUES(?1, ?2)"));
    for (const auto& [lookup, time] : erasures.lookups) {
      MSA_RETURN_IF_ERROR(insert.Bind(BlobOf(lookup), time).Run());
    }
    return transaction.Commit();
  }

  Status NameReadmitted(Catalog& catalog, const std::set<DocId>& documents) {
    MSA_ASSIGN_OR_RETURN(Statement key,
                         catalog.db().Prepare("SELECT key FROM documents WHERE id = ?1"));
    for (const DocId document : documents) {
      MSA_ASSIGN_OR_RETURN(const bool row, key.Bind(document.value).Step());
      if (row) report_.readmitted.emplace_back(key.Text(0));
      key.Reset();
    }
    return OkStatus();
  }

  const std::string& backup_;
  const NewBankPlace place_;
  const RestoreOptions& options_;
  FileSystem& fs_;
  RestoreReport report_;
};

}  // namespace

Result<RestoreReport> RestoreBank(const std::string& backup, const std::string& bank,
                                  const RestoreOptions& options, FileSystem& fs) {
  return Restore(backup, bank, options, fs).Run();
}

}  // namespace msa
