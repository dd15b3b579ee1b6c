#include "msa/base/hash.h"

#include <sodium.h>

#include <cstring>
#include <vector>

#include "msa/base/check.h"

namespace msa {
namespace {

const unsigned char* Raw(std::span<const std::byte> data) {
  return reinterpret_cast<const unsigned char*>(data.data());
}

}  // namespace

Digest Blake2b(std::span<const std::byte> data) {
  Digest digest;
  crypto_generichash(reinterpret_cast<unsigned char*>(digest.data()), digest.size(), Raw(data),
                     data.size(), nullptr, 0);
  return digest;
}

Digest Sha256(std::span<const std::byte> data) {
  Digest digest;
  crypto_hash_sha256(reinterpret_cast<unsigned char*>(digest.data()), Raw(data), data.size());
  return digest;
}

uint64_t Checksum64(std::span<const std::byte> data) {
  const Digest digest = Blake2b(data);
  uint64_t value = 0;
  std::memcpy(&value, digest.data(), sizeof(value));
  return value;
}

std::string HexEncode(std::span<const std::byte> data) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(data.size() * 2);
  for (const std::byte b : data) {
    hex += kDigits[static_cast<unsigned>(b) >> 4];
    hex += kDigits[static_cast<unsigned>(b) & 15];
  }
  return hex;
}

std::string RandomHex(int count) {
  static const bool ready = sodium_init() >= 0;
  MSA_CHECK(ready && count >= 0);
  std::vector<std::byte> bytes(static_cast<size_t>(count));
  if (count > 0) randombytes_buf(bytes.data(), bytes.size());  // it takes no null pointer
  return HexEncode(bytes);
}

}  // namespace msa
