#include "msa/bank/bank_cipher.h"

#include <algorithm>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

// Purposes of keys that derive from the keyring's root.
constexpr uint64_t kLookups = 1;
constexpr uint64_t kRevisions = 2;

}  // namespace

BankCipher::BankCipher(const BankId& bank, std::unique_ptr<Keyring> keyring)
    : bank_(bank),
      keyring_(std::move(keyring)),
      revisions_(has_keys() ? std::optional(keyring_->root().Derive(kRevisions)) : std::nullopt) {
  if (!has_keys()) return;
  const SecretKey lookups = keyring_->root().Derive(kLookups);
  std::ranges::copy(lookups.bytes().first(lookup_secret_.size()), lookup_secret_.begin());
}

Status BankCipher::Create(FileSystem& fs, const BankLayout& layout, const BankId& bank) {
  const std::string path = KeyringPath(bank);
  if (path.empty()) {
    return InvalidArgument("no place for the keyring: set MSA_KEYRINGS");
  }
  if (LiesIn(path, layout.root)) {
    return FailedPrecondition(path +
                              " lies in the bank; who copies the bank would copy its keys with it");
  }
  MSA_ASSIGN_OR_RETURN(const SecretKey master, LoadMasterKey(/*make=*/true));
  return Keyring::Create(fs, path, bank, master);
}

Result<std::unique_ptr<BankCipher>> BankCipher::Open(FileSystem& fs, const BankId& bank) {
  const auto open = [&]() -> Result<std::unique_ptr<Keyring>> {
    MSA_ASSIGN_OR_RETURN(const SecretKey master, LoadMasterKey());
    return Keyring::Open(fs, KeyringPath(bank), bank, master);
  };
  auto keyring = open();
  if (keyring.status().code() == StatusCode::kFailedPrecondition) {
    return FailedPrecondition(keyring.status().message() +
                              "; msa audit --without-keys checks what shows without keys");
  }
  MSA_RETURN_IF_ERROR(keyring.status());
  return std::unique_ptr<BankCipher>(new BankCipher(bank, *std::move(keyring)));
}

std::unique_ptr<BankCipher> BankCipher::WithoutKeys(const BankId& bank) {
  return std::unique_ptr<BankCipher>(new BankCipher(bank, nullptr));
}

Keyring& BankCipher::keyring() {
  MSA_CHECK(has_keys());
  return *keyring_;
}

RandomNumber BankCipher::RevisionSalt(int64_t revision) const {
  MSA_CHECK(has_keys());
  ByteWriter writer;
  writer.PutBytes(revisions_->bytes());
  writer.Put<int64_t>(revision);
  const Digest digest = Blake2b(writer.bytes());
  RandomNumber salt;
  std::copy_n(digest.begin(), salt.size(), salt.begin());
  return salt;
}

Result<std::optional<Sealer>> BankCipher::OfDocument(const RandomNumber& document,
                                                     int64_t version) {
  if (!has_keys()) return std::optional<Sealer>();
  const std::lock_guard lock(mutex_);
  if (!last_ || last_->first != document) {
    MSA_ASSIGN_OR_RETURN(const auto key, keyring_->Find(Keyring::Kind::kDocument, document));
    if (!key) {
      MSA_ASSIGN_OR_RETURN(const bool is_destroyed, keyring_->IsDestroyed(document));
      if (is_destroyed) return std::optional<Sealer>();
      return DataLoss(keyring_->path() + " has no key of document " + HexEncode(document) +
                      ": it is an older copy of the keyring, or the bank's catalog is damaged");
    }
    last_.emplace(document, *key);
  }
  return std::optional<Sealer>(Sealer(last_->second, bank_, document, version));
}

std::optional<Sealer> BankCipher::OfRevision(int64_t revision) const {
  if (!has_keys()) return std::nullopt;
  return Sealer(*revisions_, bank_, RandomNumber{}, revision);
}

Result<Sealer> BankCipher::OfShard(const RandomNumber& shard) {
  if (!has_keys()) return NotFound("there are no keys of lexical shards");
  MSA_ASSIGN_OR_RETURN(const auto key, keyring_->Find(Keyring::Kind::kShard, shard));
  if (!key) return NotFound(keyring_->path() + " has no key of this lexical shard");
  return Sealer(*key, bank_, shard);
}

void BankCipher::Forget() {
  if (!has_keys()) return;
  keyring_->Forget();
  const std::lock_guard lock(mutex_);
  last_.reset();
}

}  // namespace msa
