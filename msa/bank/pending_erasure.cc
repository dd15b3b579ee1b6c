#include "msa/bank/pending_erasure.h"

#include <nlohmann/json.hpp>

#include "msa/bank/bytes.h"
#include "msa/base/hash.h"

namespace msa {

using Json = nlohmann::json;

Result<std::optional<std::vector<RandomNumber>>> ReadPendingErasure(Catalog& catalog) {
  using Pending = std::optional<std::vector<RandomNumber>>;
  MSA_ASSIGN_OR_RETURN(Statement row,
                       catalog.db().Prepare("SELECT value FROM settings WHERE name = 'erasure'"));
  MSA_ASSIGN_OR_RETURN(const bool there, row.Step());
  if (!there) return Pending();
  const Json json = Json::parse(row.Text(0), nullptr, /*allow_exceptions=*/false);
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
  MSA_ASSIGN_OR_RETURN(
      Statement insert,
      catalog.db().Prepare("INSERT OR REPLACE INTO settings VALUES('erasure', ?1)"));
  const std::string value = json.dump();
  return insert.Bind(value).Run();
}

}  // namespace msa
