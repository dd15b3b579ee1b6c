#include "msa/bank/compaction_due.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "msa/bank/layout.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr char kSetting[] = "compaction";
// Far from 2^63 when added up.
constexpr int64_t kEverything = int64_t{1} << 60;

struct Counts {
  int64_t changed_bytes = 0;
  int64_t looked_unix_ms = 0;
};

// Zeros where nobody has looked yet, or the setting is damaged: a look sets it right.
Result<Counts> ReadCounts(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const auto setting, catalog.ReadSetting(kSetting));
  const Json json = Json::parse(setting.value_or(""), nullptr, /*allow_exceptions=*/false);
  const auto number = [&](const char* name) {
    const Json value = json.is_object() ? json.value(name, Json()) : Json();
    return value.is_number_integer() ? value.get<int64_t>() : 0;
  };
  return Counts{number("changed_bytes"), number("looked_unix_ms")};
}

Status WriteCounts(Catalog& catalog, const Counts& counts) {
  const Json json = {{"changed_bytes", counts.changed_bytes},
                     {"looked_unix_ms", counts.looked_unix_ms}};
  return catalog.WriteSetting(kSetting, json.dump());
}

}  // namespace

Status NoteChange(Catalog& catalog, int64_t text_bytes) {
  MSA_ASSIGN_OR_RETURN(Counts counts, ReadCounts(catalog));
  counts.changed_bytes = std::min(counts.changed_bytes + text_bytes, kEverything);
  return WriteCounts(catalog, counts);
}

Status NoteLargeChange(Catalog& catalog) { return NoteChange(catalog, kEverything); }

Result<bool> IsLookDue(Catalog& catalog, int64_t text_bytes, int64_t unix_ms) {
  MSA_ASSIGN_OR_RETURN(const Counts counts, ReadCounts(catalog));
  // A look that lies ahead of the clock was made before it went back.
  const bool is_old =
      unix_ms - counts.looked_unix_ms >= kDayMilliseconds || counts.looked_unix_ms > unix_ms;
  return is_old || counts.changed_bytes >= text_bytes / kChangesPerLook;
}

Status NoteLook(Catalog& catalog, int64_t unix_ms) { return WriteCounts(catalog, {0, unix_ms}); }

}  // namespace msa
