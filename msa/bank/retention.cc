#include "msa/bank/retention.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "msa/bank/layout.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr char kSetting[] = "retention";
constexpr int64_t kMaxDays = 1000000;

// Adds what the revision at the end of `path` sees. `versions` ascend.
Status AddVisible(Catalog& catalog, const BankId& bank, const RevisionPath& path,
                  std::vector<int64_t>* versions) {
  catalog.SetPath(&path);
  const auto visible = catalog.VisibleVersions({}, bank);
  catalog.SetPath(nullptr);
  MSA_RETURN_IF_ERROR(visible.status());
  const auto before = std::ssize(*versions);
  for (const VersionSpan& version : *visible) versions->push_back(version.version);
  std::inplace_merge(versions->begin(), versions->begin() + before, versions->end());
  versions->erase(std::unique(versions->begin(), versions->end()), versions->end());
  return OkStatus();
}

}  // namespace

bool IsValid(const Retention& retention) {
  const auto in_bounds = [](int64_t days) { return days >= 0 && days <= kMaxDays; };
  return (retention.text_days == Retention::kForever || in_bounds(retention.text_days)) &&
         in_bounds(retention.latents_days);
}

Result<Retention> ReadRetention(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(const auto setting, catalog.ReadSetting(kSetting));
  const Json json = Json::parse(setting.value_or(""), nullptr, /*allow_exceptions=*/false);
  const Json text = json.is_object() ? json.value("text", Json()) : Json();
  const Json latents = json.is_object() ? json.value("latents_days", Json()) : Json();
  Retention retention;
  if ((text == "all" || text.is_number_integer()) && latents.is_number_integer()) {
    retention.text_days = text == "all" ? Retention::kForever : text.get<int64_t>();
    retention.latents_days = latents.get<int64_t>();
    if (IsValid(retention)) return retention;
  }
  return DataLoss("catalog: the setting \"retention\" is missing or damaged");
}

Status WriteRetention(Catalog& catalog, const Retention& retention) {
  Json json = {{"text", "all"}, {"latents_days", retention.latents_days}};
  if (retention.text_days != Retention::kForever) json["text"] = retention.text_days;
  return catalog.WriteSetting(kSetting, json.dump());
}

Result<std::vector<int64_t>> VersionsSeen(Catalog& catalog, const BankId& bank, int64_t unix_ms) {
  // The revision that was the latest then; where the clock went back, one further in the past.
  MSA_ASSIGN_OR_RETURN(
      Statement first,
      catalog.db().Prepare("SELECT ifnull(min(id) - 1, (SELECT ifnull(max(id), 0) FROM revisions))"
                           " FROM revisions WHERE time > ?1"));
  MSA_RETURN_IF_ERROR(first.Bind(unix_ms).Step().status());
  const int64_t base = first.Int(0);
  first.Reset();
  // What came after it, whatever sees it; of the rest what is seen. Between two reverts a revision
  // sees only what the one before saw, and what came with it.
  std::vector<int64_t> versions;
  MSA_ASSIGN_OR_RETURN(
      Statement came, catalog.db().Prepare("SELECT id FROM versions WHERE birth > ?1 ORDER BY id"));
  came.Bind(base);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, came.Step());
    if (!row) break;
    versions.push_back(came.Int(0));
  }
  MSA_ASSIGN_OR_RETURN(
      Statement ends,
      catalog.db().Prepare("SELECT ?1 UNION SELECT id FROM revisions WHERE id > ?1 AND kind = ?2"));
  ends.Bind(base, static_cast<int64_t>(RevisionKind::kRevert));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, ends.Step());
    if (!row) return versions;
    MSA_ASSIGN_OR_RETURN(const RevisionPath path, catalog.ReadPath(ends.Int(0)));
    MSA_RETURN_IF_ERROR(AddVisible(catalog, bank, path, &versions));
  }
}

}  // namespace msa
