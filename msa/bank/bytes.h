// Little-endian fields, written to and read from byte buffers. Reading never goes past the end: a
// short buffer turns the reader bad, and its caller checks once.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace msa {

static_assert(std::endian::native == std::endian::little,
              "fields are copied as they lie in memory");

class ByteWriter {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  void Put(T value) {
    PutBytes(std::as_bytes(std::span(&value, 1)));
  }
  void PutBytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // Length (8 bytes) and content.
  void PutField(std::span<const std::byte> bytes) {
    Put<uint64_t>(bytes.size());
    PutBytes(bytes);
  }
  void PutField(std::string_view text) { PutField(std::as_bytes(std::span(text))); }
  void PutZeros(size_t count) { bytes_.resize(bytes_.size() + count); }
  // Zeros up to a multiple of `alignment`.
  void Align(size_t alignment) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  void Clear() { bytes_.clear(); }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  // Zero after the end.
  template <class T>
    requires std::is_arithmetic_v<T>
  T Get() {
    T value{};
    const auto bytes = GetBytes(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  // Empty after the end.
  std::span<const std::byte> GetBytes(size_t count) {
    if (count > rest_.size()) {
      good_ = false;
      rest_ = {};
      return {};
    }
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }

  bool good() const { return good_; }
  size_t remaining() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
  bool good_ = true;
};

// False, and nothing copied, if the blob has another length.
template <size_t kBytes>
bool CopyBlob(std::span<const std::byte> blob, std::array<std::byte, kBytes>* out) {
  if (blob.size() != kBytes) return false;
  std::ranges::copy(blob, out->begin());
  return true;
}

// Exactly kBytes in hex; nullopt otherwise.
template <size_t kBytes>
std::optional<std::array<std::byte, kBytes>> ParseHex(std::string_view hex) {
  std::array<std::byte, kBytes> bytes;
  if (hex.size() != 2 * kBytes) return std::nullopt;
  for (size_t i = 0; i < kBytes; ++i) {
    unsigned value = 0;
    const char* begin = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, value, 16);
    if (error != std::errc() || end != begin + 2) return std::nullopt;
    bytes[i] = static_cast<std::byte>(value);
  }
  return bytes;
}

}  // namespace msa
