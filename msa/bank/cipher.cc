#include "msa/bank/cipher.h"

#include <sodium.h>

#include <algorithm>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"

namespace msa {
namespace {

constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kNonceBytes + kTagBytes == Sealer::kExtraBytes);
static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == sizeof(Secret) &&
              crypto_kdf_KEYBYTES == sizeof(Secret));

// Tells libsodium's derivation whose purposes these are; eight bytes.
constexpr char kDerivationContext[crypto_kdf_CONTEXTBYTES + 1] = "msa bank";

const unsigned char* Raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* Raw(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

}  // namespace

SecretKey SecretKey::Random() {
  MSA_CHECK(sodium_init() >= 0);
  Secret bytes;
  randombytes_buf(bytes.data(), bytes.size());
  return SecretKey(bytes);
}

SecretKey SecretKey::Derive(uint64_t purpose) const {
  Secret bytes;
  crypto_kdf_derive_from_key(Raw(std::span<std::byte>(bytes)), bytes.size(), purpose,
                             kDerivationContext, Raw(bytes_));
  return SecretKey(bytes);
}

SecretKey::~SecretKey() { sodium_memzero(bytes_.data(), bytes_.size()); }

std::array<std::byte, Sealer::kBindingBytes> Sealer::Binding(CipherRole role, int64_t part,
                                                             int64_t block) const {
  ByteWriter writer;
  writer.PutBytes(bank_);
  writer.PutBytes(owner_);
  writer.Put<int64_t>(version_);
  writer.Put<int64_t>(static_cast<int64_t>(role));
  writer.Put<int64_t>(part);
  writer.Put<int64_t>(block);
  std::array<std::byte, kBindingBytes> binding;
  MSA_CHECK(writer.bytes().size() == binding.size());
  std::ranges::copy(writer.bytes(), binding.begin());
  return binding;
}

std::vector<std::byte> Sealer::Seal(CipherRole role, int64_t part, int64_t block,
                                    std::span<const std::byte> content) const {
  MSA_CHECK(sodium_init() >= 0);
  std::vector<std::byte> message(content.size() + kExtraBytes);
  const auto nonce = std::span(message).first(kNonceBytes);
  randombytes_buf(nonce.data(), nonce.size());
  const auto binding = Binding(role, part, block);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      Raw(std::span(message).subspan(kNonceBytes)), nullptr, Raw(content), content.size(),
      Raw(binding), binding.size(), nullptr, Raw(nonce), Raw(key_.bytes()));
  return message;
}

Result<std::vector<std::byte>> Sealer::Open(CipherRole role, int64_t part, int64_t block,
                                            std::span<const std::byte> message) const {
  if (message.size() < kExtraBytes) {
    return DataLoss("an encrypted message of " + std::to_string(message.size()) +
                    " bytes; the shortest has " + std::to_string(kExtraBytes));
  }
  std::vector<std::byte> content(message.size() - kExtraBytes);
  const auto nonce = message.first(kNonceBytes);
  const auto sealed = message.subspan(kNonceBytes);
  const auto binding = Binding(role, part, block);
  const int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
      Raw(std::span<std::byte>(content)), nullptr, nullptr, Raw(sealed), sealed.size(),
      Raw(binding), binding.size(), Raw(nonce), Raw(key_.bytes()));
  if (failed != 0) {
    return DataLoss("an encrypted message was changed, or belongs to another place or key");
  }
  return content;
}

}  // namespace msa
