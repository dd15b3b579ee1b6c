#include "msa/bank/signing.h"

#include <sodium.h>

#include "msa/base/check.h"

namespace msa {
namespace {

constexpr SecretKind kSigningKey = {"signing key", "msa signing key 1\n"};

static_assert(crypto_sign_SEEDBYTES == 32 && crypto_sign_SECRETKEYBYTES == 64 &&
              crypto_sign_PUBLICKEYBYTES == sizeof(PublicKey) &&
              crypto_sign_BYTES == sizeof(Signature));

const unsigned char* Raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
template <size_t kBytes>
unsigned char* Raw(std::array<std::byte, kBytes>& bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

}  // namespace

std::string DefaultSigningKeyPath() {
  return UserPath("MSA_SIGNING_KEY", "XDG_CONFIG_HOME", ".config", "signing.key");
}

SigningKey::SigningKey(const Secret& seed) {
  MSA_CHECK(sodium_init() >= 0);
  crypto_sign_seed_keypair(Raw(public_key_), Raw(secret_), Raw(std::span<const std::byte>(seed)));
}

SigningKey::~SigningKey() { sodium_memzero(secret_.data(), secret_.size()); }

Result<SigningKey> SigningKey::LoadOrCreate(const std::string& path) {
  if (path.empty()) {
    return InvalidArgument("no place for the signing key: give --key FILE or set MSA_SIGNING_KEY");
  }
  MSA_ASSIGN_OR_RETURN(const Secret seed, ReadOrMakeSecretFile(path, kSigningKey));
  return SigningKey(seed);
}

Signature SigningKey::Sign(std::span<const std::byte> message) const {
  Signature signature;
  crypto_sign_detached(Raw(signature), nullptr, Raw(message), message.size(),
                       Raw(std::span<const std::byte>(secret_)));
  return signature;
}

bool IsSignedBy(const PublicKey& key, std::span<const std::byte> message,
                const Signature& signature) {
  MSA_CHECK(sodium_init() >= 0);
  return crypto_sign_verify_detached(Raw(std::span<const std::byte>(signature)), Raw(message),
                                     message.size(), Raw(std::span<const std::byte>(key))) == 0;
}

}  // namespace msa
