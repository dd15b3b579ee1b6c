#include "msa/bank/certificate.h"

#include "msa/bank/bytes.h"
#include "msa/base/json.h"

namespace msa {
namespace {

using Json = nlohmann::json;

constexpr int64_t kVersion = 1;

// All but the signature.
Json Statement(const Certificate& certificate) {
  Json erased = Json::array();
  for (const RandomNumber& number : certificate.erased) erased.push_back(HexEncode(number));
  return {{"format", "msa-certificate"},
          {"version", kVersion},
          {"bank", HexEncode(certificate.bank)},
          {"issued_unix_ms", certificate.issued_unix_ms},
          {"chain",
           {{"length", certificate.chain_length}, {"head", HexEncode(certificate.chain_head)}}},
          {"erase_epoch", certificate.erase_epoch},
          {"erased", std::move(erased)},
          {"public_key", HexEncode(certificate.public_key)}};
}

// What is signed: sorted names, no spaces.
std::string Message(const Certificate& certificate) { return Statement(certificate).dump(); }

template <size_t kBytes>
bool ReadHex(const Json& json, std::array<std::byte, kBytes>* out) {
  if (!json.is_string()) return false;
  const auto bytes = ParseHex<kBytes>(json.get_ref<const std::string&>());
  if (bytes) *out = *bytes;
  return bytes.has_value();
}

bool ReadInt(const Json& json, int64_t* out) {
  if (!json.is_number_integer()) return false;
  *out = json.get<int64_t>();
  return *out >= 0;
}

bool ReadFields(const Json& json, Certificate* certificate) {
  const Json chain = json.value("chain", Json::object());
  const Json erased = json.value("erased", Json());
  if (!chain.is_object() || !erased.is_array()) return false;
  for (const Json& number : erased) {
    if (!ReadHex(number, &certificate->erased.emplace_back())) return false;
  }
  return ReadHex(json.value("bank", Json()), &certificate->bank) &&
         ReadInt(json.value("issued_unix_ms", Json()), &certificate->issued_unix_ms) &&
         ReadInt(chain.value("length", Json()), &certificate->chain_length) &&
         ReadHex(chain.value("head", Json()), &certificate->chain_head) &&
         ReadInt(json.value("erase_epoch", Json()), &certificate->erase_epoch) &&
         ReadHex(json.value("public_key", Json()), &certificate->public_key) &&
         ReadHex(json.value("signature", Json()), &certificate->signature);
}

}  // namespace

void Certificate::SignWith(const SigningKey& key) {
  public_key = key.public_key();
  signature = key.Sign(AsBytes(Message(*this)));
}

std::string Certificate::Serialize() const {
  Json json = Statement(*this);
  json["signature"] = HexEncode(signature);
  return json.dump(2) + "\n";
}

Result<Certificate> Certificate::Parse(std::string_view text) {
  const Json json = ParseJson(text);
  if (!json.is_object() || json.value("format", Json()) != "msa-certificate") {
    return InvalidArgument(
        "no certificate of msa: it does not say \"format\": \"msa-certificate\"");
  }
  if (json.value("version", Json()) != kVersion) {
    return Unimplemented("certificate version " + json.value("version", Json()).dump() +
                         ", this program reads " + std::to_string(kVersion));
  }
  Certificate certificate;
  if (!ReadFields(json, &certificate)) return InvalidArgument("the certificate lacks a field");
  if (!IsSignedBy(certificate.public_key, AsBytes(Message(certificate)), certificate.signature)) {
    return DataLoss("the certificate's signature does not fit what it says");
  }
  return certificate;
}

}  // namespace msa
