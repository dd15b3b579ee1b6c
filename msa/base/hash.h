// Checksums and content hashes (libsodium).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace msa {

using Digest = std::array<std::byte, 32>;

// BLAKE2b-256: fingerprints, chain entries.
Digest Blake2b(std::span<const std::byte> data);
// SHA-256: of original files, so that anyone can check with `sha256sum`.
Digest Sha256(std::span<const std::byte> data);
// The first 8 bytes of BLAKE2b, little-endian: block checksums. Not a secret, not an authenticator.
uint64_t Checksum64(std::span<const std::byte> data);

std::string HexEncode(std::span<const std::byte> data);
// SplitMix64 (Steele et al. 2014): the number that follows state `x`. The same on every machine.
inline uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
// `count` random bytes from the system, in hex.
std::string RandomHex(int count);

}  // namespace msa
