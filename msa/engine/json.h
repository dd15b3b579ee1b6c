// What the engine answers, as the JSON that the command line and the server promise (docs/cli.md).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "msa/bank/backup.h"
#include "msa/engine/engine.h"

namespace msa {

nlohmann::ordered_json ToJson(const Retrieved& result);
nlohmann::ordered_json ToJson(const Counters& counters);
nlohmann::ordered_json ToJson(const SearchResponse& response);
nlohmann::ordered_json ToJson(const AskResponse& response);
nlohmann::ordered_json ToJson(const AddReport& report);
nlohmann::ordered_json ToJson(const DocumentChange& change);
nlohmann::ordered_json ToJson(const SyncReport& report);
nlohmann::ordered_json ToJson(const RemoveReport& report);
nlohmann::ordered_json ToJson(const RevisionInfo& revision);
nlohmann::ordered_json ToJson(const EraseReport& report);
// As the bank's setting writes it: {"text": "all" or days, "latents_days"}.
nlohmann::ordered_json ToJson(const Retention& retention);
nlohmann::ordered_json ToJson(const CompactReport& report);
nlohmann::ordered_json ToJson(const AuditReport& report);
nlohmann::ordered_json ToJson(const ErasureProof& proof);
nlohmann::ordered_json ToJson(const BackupReport& report);
nlohmann::ordered_json ToJson(const RestoreReport& report);
nlohmann::ordered_json ToJson(const EncodeReport& report);
nlohmann::ordered_json ToJson(const MigrateReport& report);
nlohmann::ordered_json ToJson(const DocumentInfo& document);

// "2026-11-25T20:00:00Z"
std::string FormatUtc(int64_t unix_ms);

}  // namespace msa
