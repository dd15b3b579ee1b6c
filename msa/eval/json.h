// Reports as the JSON that `msa eval --json` promises (docs/evaluation.md).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "msa/eval/kept.h"
#include "msa/eval/language.h"
#include "msa/eval/needles.h"
#include "msa/eval/reading.h"
#include "msa/eval/retrieval.h"

namespace msa {

nlohmann::ordered_json ToJson(const RetrievalReport& report);
nlohmann::ordered_json ToJson(const LanguageReport& report);
nlohmann::ordered_json ToJson(const KeptReport& report);
nlohmann::ordered_json ToJson(const ReadingReport& report);
nlohmann::ordered_json ToJson(const NeedleReport& report);

}  // namespace msa
