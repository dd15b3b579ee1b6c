// bank.json, as it is and with a checksum that fits.
#include <nlohmann/json.hpp>

#include "msa/bank/layout.h"
#include "msa/base/hash.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msa;
  const std::string_view text = fuzz::Chars(data, size);
  {
    const fuzz::AllocationLimit limit(size);
    fuzz::Ignore(ParseBankJson(text));
  }
  constexpr int kDepth = 100;  // nlohmann writes by recursion
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth < kDepth;
  };
  auto json = nlohmann::json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!json.is_object()) return 0;
  json.erase("checksum");
  const std::string unsealed = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const uint64_t checksum = Checksum64(AsBytes(unsealed));
  json["checksum"] = HexEncode(std::as_bytes(std::span(&checksum, 1)));
  const std::string sealed = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const fuzz::AllocationLimit limit(sealed.size());
  const auto identity = ParseBankJson(sealed);
  // What is accepted is written and read again alike.
  if (identity.ok()) {
    const auto again = ParseBankJson(SerializeBankJson(*identity));
    MSA_CHECK(again.ok() && again->id == identity->id);
  }
  return 0;
}
