#include "msa/bank/secret_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "msa/bank/bytes.h"
#include "msa/base/file.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr int64_t kMaxFileBytes = 4096;

// A new secret under a name of its own, which then gets `path` unless another process was faster.
Status MakeSecretFile(const std::string& path, const SecretKind& kind) {
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus("make folder " + folder.string(), error.value());
  const std::string temporary = path + "." + RandomHex(8);
  const mode_t mask = ::umask(0077);
  const Status written = WriteFileAtomically(PosixFileSystem(), temporary,
                                             std::string(kind.first_line) + RandomHex(32) + "\n");
  ::umask(mask);
  MSA_RETURN_IF_ERROR(written);
  const int failed = ::link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(temporary.c_str());
  if (failed != 0 && failed != EEXIST) return ErrnoStatus("make " + path, failed);
  // What is sealed with it may be durable sooner than its name otherwise.
  return SyncNameOf(PosixFileSystem(), path);
}

}  // namespace

Result<Secret> ReadSecretFile(const std::string& path, const SecretKind& kind) {
  const std::string name(kind.name);
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return ErrnoStatus("open " + path, errno);
  if ((st.st_mode & 077) != 0) {
    return FailedPrecondition(path + ": others may read this " + name + "; chmod 600 it");
  }
  MSA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  std::string_view line = text;
  if (line.starts_with(kind.first_line) && line.ends_with('\n')) {
    line.remove_prefix(kind.first_line.size());
    line.remove_suffix(1);
    if (const auto secret = ParseHex<sizeof(Secret)>(line)) return *secret;
  }
  return DataLoss(path + " is no " + name + " of msa");
}

Result<Secret> ReadOrMakeSecretFile(const std::string& path, const SecretKind& kind) {
  if (!PosixFileSystem().Exists(path)) MSA_RETURN_IF_ERROR(MakeSecretFile(path, kind));
  return ReadSecretFile(path, kind);
}

const char* EnvironmentOrNull(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::string UserPath(const char* variable, const char* xdg_variable, std::string_view below_home,
                     std::string_view name) {
  if (const char* path = EnvironmentOrNull(variable)) return path;
  std::string folder;
  if (const char* xdg = EnvironmentOrNull(xdg_variable)) {
    folder = xdg;
  } else if (const char* home = EnvironmentOrNull("HOME")) {
    folder.append(home).append("/").append(below_home);
  } else {
    return "";
  }
  return folder.append("/msa/").append(name);
}

}  // namespace msa
