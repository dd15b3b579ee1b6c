// Secrets of 32 bytes that lie in files of their own, outside of every bank: a first line that says
// what the secret is for, and a line of hex.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "msa/base/status.h"

namespace msa {

using Secret = std::array<std::byte, 32>;

// What a file's secret is for.
struct SecretKind {
  std::string_view name;        // "signing key", for messages
  std::string_view first_line;  // with its line feed
};

// kNotFound: there is no file. kFailedPrecondition: others may read it. kDataLoss: it is no secret
// of this kind.
Result<Secret> ReadSecretFile(const std::string& path, const SecretKind& kind);
// As ReadSecretFile, but makes a random one (mode 0600) where there is none.
Result<Secret> ReadOrMakeSecretFile(const std::string& path, const SecretKind& kind);

// Null if it is not set, or empty.
const char* EnvironmentOrNull(const char* name);
// "FOLDER/NAME": $VARIABLE if it is set, else `name` in the folder msa of $XDG_VARIABLE, else of
// `below_home` in the user's home. Empty: there is no home.
std::string UserPath(const char* variable, const char* xdg_variable, std::string_view below_home,
                     std::string_view name);

}  // namespace msa
