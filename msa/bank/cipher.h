// Messages of an encrypted bank: XChaCha20-Poly1305 (libsodium) under a random nonce, each bound to
// the place it belongs to, so that none can stand in for another. docs/bank-format.md,
// "Encryption".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "msa/bank/chain.h"
#include "msa/bank/layout.h"
#include "msa/bank/secret_file.h"
#include "msa/base/status.h"

namespace msa {

// A key of 32 bytes, overwritten when it goes.
class SecretKey {
 public:
  explicit SecretKey(const Secret& bytes) : bytes_(bytes) {}
  static SecretKey Random();
  // A key for another purpose, which says nothing of this one. Purposes are numbered by the format.
  SecretKey Derive(uint64_t purpose) const;
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  Secret bytes_;
};

// What a message is; part of what it is bound to. As the format numbers them.
enum class CipherRole : int64_t {
  kKeyringRoot = 1,
  kKeyringKey = 2,
  kColumn = 3,      // part: the column
  kFrame = 4,       // text and tokens of a version
  kRoutingKey = 5,  // part: the encoding; block: passage in the version, row of the passage
  kLatent = 6,      // likewise
  kShardPage = 7,   // block: the page
};

// What messages of one version of a document share: their key, and what they are bound to. Also of
// other things that have a number, and no versions.
class Sealer {
 public:
  // Bytes that a message is longer than its content: nonce and tag.
  static constexpr size_t kExtraBytes = 40;

  Sealer(const SecretKey& key, const BankId& bank, const RandomNumber& owner, int64_t version = 0)
      : key_(key), bank_(bank), owner_(owner), version_(version) {}

  std::vector<std::byte> Seal(CipherRole role, int64_t part, int64_t block,
                              std::span<const std::byte> content) const;
  // kDataLoss if the message was made with another key or for another place, or was changed.
  Result<std::vector<std::byte>> Open(CipherRole role, int64_t part, int64_t block,
                                      std::span<const std::byte> message) const;

 private:
  static constexpr size_t kBindingBytes = 16 + 16 + 4 * 8;
  std::array<std::byte, kBindingBytes> Binding(CipherRole role, int64_t part, int64_t block) const;

  SecretKey key_;
  BankId bank_;
  RandomNumber owner_;
  int64_t version_;
};

}  // namespace msa
