// Reports as the JSON that `msa eval --json` promises (docs/evaluation.md).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "msa/eval/kept.h"
#include "msa/eval/language.h"
#include "msa/eval/retrieval.h"

namespace msa {

nlohmann::ordered_json ToJson(const RetrievalReport& report);
nlohmann::ordered_json ToJson(const LanguageReport& report);
nlohmann::ordered_json ToJson(const KeptReport& report);

}  // namespace msa
