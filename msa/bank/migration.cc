#include "msa/bank/migration.h"

#include <charconv>
#include <string>

#include "msa/bank/latent_catalog.h"
#include "msa/base/hash.h"

namespace msa {

namespace {
constexpr char kSetting[] = "migration";
}  // namespace

Result<EncodingId> ReadPendingMigration(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const auto setting, catalog.ReadSetting(kSetting));
  if (!setting) return EncodingId{};
  int64_t id = 0;
  std::from_chars(setting->data(), setting->data() + setting->size(), id);
  return EncodingId{id};
}

Status WritePendingMigration(Catalog& catalog, EncodingId encoding) {
  if (!encoding.valid()) return catalog.RemoveSetting(kSetting);
  return catalog.WriteSetting(kSetting, std::to_string(encoding.value));
}

Status DropEncoding(WriteTransaction& transaction, EncodingId encoding) {
  Catalog& catalog = transaction.catalog();
  MSA_ASSIGN_OR_RETURN(const auto files, catalog.Files());
  for (const Catalog::FileRow& file : files) {
    if (file.encoding != encoding) continue;
    MSA_RETURN_IF_ERROR(transaction.RemoveAfterCommit(file.kind, file.id));
  }
  for (const char* sql :
       {"DELETE FROM places WHERE encoding = ?1", "DELETE FROM encodings WHERE id = ?1"}) {
    MSA_ASSIGN_OR_RETURN(Statement remove, catalog.db().Prepare(sql));
    MSA_RETURN_IF_ERROR(remove.Bind(encoding.value).Run());
  }
  return OkStatus();
}

Status SwitchToPending(WriteTransaction& transaction) {
  Catalog& catalog = transaction.catalog();
  MSA_ASSIGN_OR_RETURN(const EncodingId pending, ReadPendingMigration(catalog));
  if (!pending.valid()) return OkStatus();
  MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog));
  MSA_RETURN_IF_ERROR(transaction.Begin());
  for (const EncodingInfo& encoding : encodings) {
    if (encoding.id != pending) {
      MSA_RETURN_IF_ERROR(DropEncoding(transaction, encoding.id));
      continue;
    }
    MSA_RETURN_IF_ERROR(
        transaction.AppendChain(ChainOperation::kMigrate, transaction.state().head.revision,
                                UnixMilliseconds(), {}, CommitToEncoding(encoding.fingerprint)));
  }
  MSA_RETURN_IF_ERROR(WritePendingMigration(catalog, {}));
  MSA_RETURN_IF_ERROR(transaction.Commit());
  // Readers of older snapshots keep what they have open.
  transaction.files().Clear();
  transaction.core().segments.Clear();
  return OkStatus();
}

Digest CommitToEncoding(std::string_view fingerprint) { return Blake2b(AsBytes(fingerprint)); }

}  // namespace msa
