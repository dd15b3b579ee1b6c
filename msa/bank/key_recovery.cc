#include "msa/bank/key_recovery.h"

#include <vector>

#include "msa/bank/bytes.h"
#include "msa/bank/lexical_writer.h"
#include "msa/bank/shard_image.h"

namespace msa {
namespace {

constexpr char kMessage[] = "erased since this copy of the bank was made";

Result<std::vector<Catalog::ShardRow>> FindLostShards(WriteTransaction& transaction) {
  const BankCore& core = transaction.core();
  MSA_ASSIGN_OR_RETURN(auto shards, transaction.catalog().Shards());
  std::vector<Catalog::ShardRow> lost;
  for (Catalog::ShardRow& shard : shards) {
    const auto number = ReadShardNumber(core.fs, core.layout.File(FileKind::kLexical, shard.file));
    if (!number.ok()) continue;  // damage, which is not for this to repair
    MSA_ASSIGN_OR_RETURN(const auto key,
                         core.cipher->keyring().Find(Keyring::Kind::kShard, *number));
    if (!key) lost.push_back(std::move(shard));
  }
  return lost;
}

}  // namespace

Result<std::set<DocId>> FindDestroyed(WriteTransaction& transaction) {
  std::set<DocId> documents;
  BankCipher* cipher = transaction.core().cipher.get();
  if (cipher == nullptr) return documents;
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       transaction.catalog().db().Prepare("SELECT id, number FROM documents"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return documents;
    RandomNumber number{};
    if (!CopyBlob(rows.Blob(1), &number)) {
      return DataLoss("catalog: document " + std::to_string(rows.Int(0)) + " has no number");
    }
    MSA_ASSIGN_OR_RETURN(const bool is_destroyed, cipher->keyring().IsDestroyed(number));
    if (is_destroyed) documents.insert(DocId{rows.Int(0)});
  }
}

Status CatchUpWithKeyring(WriteTransaction& transaction, Erasure& erasure) {
  if (transaction.core().cipher == nullptr) return OkStatus();
  MSA_ASSIGN_OR_RETURN(auto lost, FindLostShards(transaction));
  if (lost.empty()) return OkStatus();
  MSA_ASSIGN_OR_RETURN(const auto destroyed, FindDestroyed(transaction));
  if (!destroyed.empty()) {
    const std::vector<DocId> documents(destroyed.begin(), destroyed.end());
    MSA_RETURN_IF_ERROR(erasure.Intend(documents, kMessage));
    MSA_RETURN_IF_ERROR(erasure.Proceed().status());
    MSA_ASSIGN_OR_RETURN(lost, FindLostShards(transaction));
    if (lost.empty()) return OkStatus();
  }
  MSA_RETURN_IF_ERROR(transaction.Begin());
  LexicalWriter lexical(transaction);
  for (const Catalog::ShardRow& shard : lost) MSA_RETURN_IF_ERROR(lexical.Rebuild(shard));
  return transaction.Commit();
}

}  // namespace msa
