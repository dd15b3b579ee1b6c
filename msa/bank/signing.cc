#include "msa/bank/signing.h"

#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"
#include "msa/base/file.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr std::string_view kFirstLine = "msa signing key 1\n";
constexpr int64_t kMaxKeyFileBytes = 4096;

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

// A new key under a name of its own, which then gets `path` unless another process was faster.
Status WriteNewKey(const std::string& path) {
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus("make folder " + folder.string(), error.value());
  const std::string temporary = path + "." + RandomHex(8);
  const mode_t mask = ::umask(0077);
  const Status written = WriteFileAtomically(PosixFileSystem(), temporary,
                                             std::string(kFirstLine) + RandomHex(32) + "\n");
  ::umask(mask);
  MSA_RETURN_IF_ERROR(written);
  const int failed = ::link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(temporary.c_str());
  return failed == 0 || failed == EEXIST ? OkStatus() : ErrnoStatus("make " + path, failed);
}

}  // namespace

std::string DefaultSigningKeyPath() {
  if (const char* path = std::getenv("MSA_SIGNING_KEY"); path != nullptr && *path != '\0') {
    return path;
  }
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config != '\0') {
    return std::string(config) + "/msa/signing.key";
  }
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? "" : std::string(home) + "/.config/msa/signing.key";
}

SigningKey::SigningKey(const Seed& seed) {
  MSA_CHECK(sodium_init() >= 0);
  crypto_sign_seed_keypair(Raw(public_key_), Raw(secret_), Raw(std::span<const std::byte>(seed)));
}

SigningKey::~SigningKey() { sodium_memzero(secret_.data(), secret_.size()); }

Result<SigningKey> SigningKey::LoadOrCreate(const std::string& path) {
  if (path.empty()) {
    return InvalidArgument("no place for the signing key: give --key FILE or set MSA_SIGNING_KEY");
  }
  if (!PosixFileSystem().Exists(path)) MSA_RETURN_IF_ERROR(WriteNewKey(path));
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return ErrnoStatus("open " + path, errno);
  if ((st.st_mode & 077) != 0) {
    return FailedPrecondition(path + ": others may read this signing key; chmod 600 it");
  }
  MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxKeyFileBytes));
  std::string_view line = text;
  if (line.starts_with(kFirstLine) && line.ends_with('\n')) {
    line.remove_prefix(kFirstLine.size());
    line.remove_suffix(1);
    if (const auto seed = ParseHex<sizeof(Seed)>(line)) return SigningKey(*seed);
  }
  return DataLoss(path + " is no signing key of msa");
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
