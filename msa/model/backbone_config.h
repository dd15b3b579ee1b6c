// Reads what a backbone is from the two places that say it: GGUF metadata and a Hugging Face
// config.json. Whatever would change the forward pass and is not implemented is refused here, so
// that no model runs with silently wrong mathematics.
#pragma once

#include <string>
#include <string_view>

#include "msa/base/gguf.h"
#include "msa/base/status.h"
#include "msa/model/backbone.h"

namespace msa {

// kUnimplemented: another architecture, sliding windows, biases, experts, rope scaling other than
// Llama 3's. kInvalidArgument: contradictory numbers. Messages name file and key.
Result<BackboneConfig> ConfigFromGguf(const GgufFile& file);

// `json` is the content of config.json, `path` names it in messages.
Result<BackboneConfig> ConfigFromHuggingFace(std::string_view json, const std::string& path);

}  // namespace msa
