// Signatures under heads of chains (Ed25519, libsodium). The secret lies in a file of its own,
// outside of every bank: who holds a bank alone cannot sign for it.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "msa/bank/secret_file.h"
#include "msa/base/status.h"

namespace msa {

using PublicKey = std::array<std::byte, 32>;
using Signature = std::array<std::byte, 64>;

// Where the key lies unless told otherwise: $MSA_SIGNING_KEY, else msa/signing.key in
// $XDG_CONFIG_HOME, else in ~/.config. Empty: there is no home.
std::string DefaultSigningKeyPath();

class SigningKey {
 public:
  // Reads the key, or makes one where there is none (mode 0600). kFailedPrecondition if others may
  // read it; kDataLoss if it is no key.
  static Result<SigningKey> LoadOrCreate(const std::string& path);

  SigningKey(const SigningKey&) = delete;
  SigningKey& operator=(const SigningKey&) = delete;
  SigningKey(SigningKey&& other) noexcept = default;
  ~SigningKey();

  const PublicKey& public_key() const { return public_key_; }
  Signature Sign(std::span<const std::byte> message) const;

 private:
  explicit SigningKey(const Secret& seed);

  std::array<std::byte, 64> secret_{};
  PublicKey public_key_{};
};

bool IsSignedBy(const PublicKey& key, std::span<const std::byte> message,
                const Signature& signature);

}  // namespace msa
