// Which files a list of paths means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "msa/base/function_ref.h"
#include "msa/text/loader.h"

namespace msa {

struct FoundFile {
  std::string path;  // under the path given, as a person would write it
  int64_t bytes;
};

// Calls `on_file` for each regular file that `paths` name or hold, folders by name, until it
// returns false (then WalkFiles does too). A folder or file that several links lead to is met once;
// names of one file made by hard links are files of their own. "-" is passed on as it is. What
// cannot be read goes to `on_failure`.
bool WalkFiles(const std::vector<std::string>& paths, FunctionRef<bool(const FoundFile&)> on_file,
               FunctionRef<void(const LoadFailure&)> on_failure);

}  // namespace msa
