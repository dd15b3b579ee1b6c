#include "msa/bank/pending_erasure.h"

#include "msa/bank/bytes.h"
#include "msa/base/hash.h"
#include "msa/base/json.h"

namespace msa {

using Json = nlohmann::json;

namespace {
constexpr char kSetting[] = "erasure";
}  // namespace

Result<std::optional<std::vector<RandomNumber>>> ReadPendingErasure(Catalog& catalog) {
  using Pending = std::optional<std::vector<RandomNumber>>;
  MSA_ASSIGN_OR_RETURN(const auto setting, catalog.ReadSetting(kSetting));
  if (!setting) return Pending();
  const Json json = ParseJson(*setting);
  const Json documents = json.is_object() ? json.value("documents", Json()) : Json();
  std::vector<RandomNumber> numbers;
  bool sound = documents.is_array();
  for (const Json& document : documents) {
    const auto number = document.is_string()
                            ? ParseHex<sizeof(RandomNumber)>(document.get_ref<const std::string&>())
                            : std::nullopt;
    sound = sound && number.has_value();
    if (number) numbers.push_back(*number);
  }
  if (!sound) return DataLoss("catalog: the setting \"erasure\" is damaged");
  return Pending(std::move(numbers));
}

Status WritePendingErasure(Catalog& catalog, const std::vector<RandomNumber>& numbers) {
  Json json = {{"documents", Json::array()}};
  for (const RandomNumber& number : numbers) json["documents"].push_back(HexEncode(number));
  return catalog.WriteSetting(kSetting, json.dump());
}

Status RemovePendingErasure(Catalog& catalog) { return catalog.RemoveSetting(kSetting); }

Result<std::set<int64_t>> ReadDoomedVersions(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare("SELECT v.id FROM erased e JOIN documents d ON d.lookup = e.lookup"
                           " JOIN versions v ON v.document = d.id"));
  std::set<int64_t> versions;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return versions;
    versions.insert(rows.Int(0));
  }
}

}  // namespace msa
