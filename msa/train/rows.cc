#include "msa/train/rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "msa/text/whitespace.h"

namespace msa {
namespace {

using Json = nlohmann::json;

// A zero byte is no text, and ends strings elsewhere.
std::string WithoutZeros(std::string text) {
  std::erase(text, '\0');
  return text;
}

Result<Json> ParseObject(std::string_view line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidArgument("not a JSON object");
  return json;
}

Result<std::string> Required(const Json& json, const char* key) {
  if (!json.contains(key) || !json[key].is_string()) {
    return InvalidArgument(std::string("no string \"") + key + "\"");
  }
  std::string text = WithoutZeros(json[key].get<std::string>());
  if (Trim(text).empty()) return InvalidArgument(std::string("\"") + key + "\" is empty");
  return text;
}

// Empty if absent or null.
Result<std::string> Optional(const Json& json, const char* key) {
  if (!json.contains(key) || json[key].is_null()) return std::string();
  if (!json[key].is_string()) return InvalidArgument(std::string("\"") + key + "\" is no string");
  return WithoutZeros(json[key].get<std::string>());
}

// Appends the texts of a list that are not in `texts` yet.
Status AppendList(const Json& json, const char* key, std::vector<std::string>* texts) {
  if (!json.contains(key) || json[key].is_null()) return OkStatus();
  const Status wrong = InvalidArgument(std::string("\"") + key + "\" is no list of strings");
  if (!json[key].is_array()) return wrong;
  for (const Json& item : json[key]) {
    if (!item.is_string()) return wrong;
    std::string text = WithoutZeros(item.get<std::string>());
    if (Trim(text).empty() || std::ranges::find(*texts, text) != texts->end()) continue;
    texts->push_back(std::move(text));
  }
  return OkStatus();
}

}  // namespace

Result<CorpusRow> ParseCorpusRow(std::string_view line) {
  MSA_ASSIGN_OR_RETURN(const Json json, ParseObject(line));
  CorpusRow row;
  MSA_ASSIGN_OR_RETURN(row.text, Required(json, "text"));
  MSA_ASSIGN_OR_RETURN(row.title, Optional(json, "title"));
  return row;
}

Result<PairRow> ParsePairRow(std::string_view line) {
  MSA_ASSIGN_OR_RETURN(const Json json, ParseObject(line));
  PairRow row;
  MSA_ASSIGN_OR_RETURN(row.query, Required(json, "query"));
  MSA_ASSIGN_OR_RETURN(std::string positive, Required(json, "positive"));
  MSA_ASSIGN_OR_RETURN(row.answer, Optional(json, "answer"));
  MSA_ASSIGN_OR_RETURN(row.title, Optional(json, "title"));
  row.positives.push_back(std::move(positive));
  MSA_RETURN_IF_ERROR(AppendList(json, "positives", &row.positives));
  MSA_RETURN_IF_ERROR(AppendList(json, "negatives", &row.negatives));
  if (json.contains("standalone")) {
    if (!json["standalone"].is_boolean()) {
      return InvalidArgument("\"standalone\" is neither true nor false");
    }
    row.standalone = json["standalone"].get<bool>();
  }
  return row;
}

}  // namespace msa
