// The cipher of an open bank: who has which key, and what is sealed with it. A bank without a
// cipher has no object of this kind. docs/bank-format.md, "Encryption".
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "msa/bank/chain.h"
#include "msa/bank/cipher.h"
#include "msa/bank/keyring.h"
#include "msa/bank/layout.h"
#include "msa/base/status.h"

namespace msa {

// Columns of the catalog that hold messages, as the format numbers them.
enum class SealedColumn : int64_t {
  kKey = 1,
  kTitle = 2,
  kSourcePath = 3,
  kSourceSha256 = 4,
  kMediaType = 5,
  kLabels = 6,
  kTextHash = 7,
  kSalt = 8,
  kAuthor = 9,
  kMessage = 10,
};

// Thread-safe.
class BankCipher {
 public:
  // Makes the keyring of a new bank, and a master key if its file is absent. kFailedPrecondition:
  // the keyring would lie in the bank.
  static Status Create(FileSystem& fs, const BankLayout& layout, const BankId& bank);
  // Errors as LoadMasterKey and Keyring::Open.
  static Result<std::unique_ptr<BankCipher>> Open(FileSystem& fs, const BankId& bank);
  // Of a bank that is looked at without its keyring: of no document, revision or shard is there a
  // key, as if all were destroyed.
  static std::unique_ptr<BankCipher> WithoutKeys(const BankId& bank);

  bool has_keys() const { return keyring_ != nullptr; }
  // REQUIRES: has_keys().
  Keyring& keyring();
  // What lookups of keys and labels are hashed with; zeros without keys.
  const BankId& lookup_secret() const { return lookup_secret_; }
  // Of what a revision commits to: with it nobody can test a guess of an author or a message.
  // REQUIRES: has_keys().
  RandomNumber RevisionSalt(int64_t revision) const;

  // Of a version of a document; version 0: of the document itself. nullopt: its key was destroyed.
  // kDataLoss: the keyring never had it.
  Result<std::optional<Sealer>> OfDocument(const RandomNumber& document, int64_t version);
  // nullopt: there are no keys.
  std::optional<Sealer> OfRevision(int64_t revision) const;
  // kNotFound: there is no key, as when the shard was replaced meanwhile.
  Result<Sealer> OfShard(const RandomNumber& shard);

  // Drops keys from memory.
  void Forget();

 private:
  BankCipher(const BankId& bank, std::unique_ptr<Keyring> keyring);

  const BankId bank_;
  const std::unique_ptr<Keyring> keyring_;    // null: without keys
  const std::optional<SecretKey> revisions_;  // there if the keyring is
  BankId lookup_secret_{};

  std::mutex mutex_;  // guards last_
  // The document asked last: a row asks for each of its columns.
  std::optional<std::pair<RandomNumber, SecretKey>> last_;
};

}  // namespace msa
