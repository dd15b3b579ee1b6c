#include "msa/bank/layout.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "msa/bank/bytes.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"
#include "msa/base/json.h"

namespace msa {
namespace {

using Json = nlohmann::json;

// Names of ciphers in bank.json.
constexpr char kNoCipher[] = "none";
constexpr char kCipher[] = "xchacha20-poly1305";

struct KindNames {
  std::string_view folder;
  std::string_view extension;
  std::string_view magic;
};

KindNames NamesOf(FileKind kind) {
  switch (kind) {
    case FileKind::kPack: return {"packs", ".pack", "MSAPACK1"};
    case FileKind::kTail: return {"segments", ".tail", "MSATAIL1"};
    case FileKind::kSegment: return {"segments", ".safetensors", ""};
    case FileKind::kLexical: return {"lexical", ".fts", ""};
  }
  MSA_CHECK(false);
}

std::string JsonChecksum(const Json& json) {
  const uint64_t checksum = Checksum64(AsBytes(json.dump()));
  return HexEncode(std::as_bytes(std::span(&checksum, 1)));
}

std::optional<BankId> ParseBankId(const Json& json) {
  if (!json.is_string()) return std::nullopt;
  return ParseHex<sizeof(BankId)>(json.get_ref<const std::string&>());
}

bool IsPositiveInteger(const Json& json, const char* name) {
  return json.contains(name) && json[name].is_number_integer() && json[name].get<int64_t>() > 0;
}

}  // namespace

std::string BankLayout::Folder(FileKind kind) const {
  return root + "/" + std::string(NamesOf(kind).folder);
}

std::string BankLayout::File(FileKind kind, FileId id) const {
  char number[24];
  std::snprintf(number, sizeof(number), "%08lld", static_cast<long long>(id.value));
  return Folder(kind) + "/" + number + std::string(NamesOf(kind).extension);
}

std::optional<FileId> ParseFileName(FileKind kind, std::string_view name) {
  const std::string_view extension = NamesOf(kind).extension;
  if (!name.ends_with(extension)) return std::nullopt;
  name.remove_suffix(extension.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (name.size() < 8 || error != std::errc() || end != name.data() + name.size() || number < 0) {
    return std::nullopt;
  }
  return FileId{number};
}

std::string SerializeBankJson(const BankIdentity& identity) {
  Json json = {{"format", "msa-bank"},
               {"version", kBankFormat},
               {"bank", HexEncode(identity.id)},
               {"created_unix_ms", identity.created_unix_ms},
               {"passage_tokens", identity.options.passage_tokens},
               {"chunk_tokens", identity.options.chunk_tokens},
               {"cipher", identity.options.encrypt ? kCipher : kNoCipher},
               {"signing_key", nullptr}};
  json["checksum"] = JsonChecksum(json);
  return json.dump(2) + "\n";
}

Result<BankIdentity> ParseBankJson(std::string_view text) {
  Json json = ParseJson(text);
  if (!json.is_object()) return DataLoss("bank.json is not a JSON object");
  if (json.value("format", Json()) != "msa-bank") {
    return InvalidArgument("bank.json does not say \"format\": \"msa-bank\"");
  }
  if (!IsPositiveInteger(json, "version")) return DataLoss("bank.json has no version");
  if (json["version"].get<int64_t>() > kBankFormat) {
    return Unimplemented("the bank has format version " + json["version"].dump() +
                         ", this program reads up to " + std::to_string(kBankFormat) +
                         ": use a newer msa");
  }
  const Json checksum = json.value("checksum", Json());
  json.erase("checksum");
  if (checksum != JsonChecksum(json)) {
    return DataLoss("bank.json does not match its checksum, expected " + JsonChecksum(json));
  }
  const Json cipher = json.value("cipher", Json());
  if (cipher != kNoCipher && cipher != kCipher) {
    return Unimplemented("the bank is encrypted (" + cipher.dump() + "); this program reads \"" +
                         kNoCipher + "\" and \"" + kCipher + "\"");
  }
  const auto id = ParseBankId(json.value("bank", Json()));
  if (!id || !IsPositiveInteger(json, "created_unix_ms") ||
      !IsPositiveInteger(json, "passage_tokens") || !IsPositiveInteger(json, "chunk_tokens")) {
    return DataLoss("bank.json lacks a field of format version 1");
  }
  BankIdentity identity;
  identity.id = *id;
  identity.created_unix_ms = json["created_unix_ms"].get<int64_t>();
  identity.options.passage_tokens = json["passage_tokens"].get<int64_t>();
  identity.options.encrypt = cipher == kCipher;
  identity.options.chunk_tokens = json["chunk_tokens"].get<int64_t>();
  return identity;
}

std::array<std::byte, kFileHeaderBytes> FileHeader(FileKind kind, const BankId& bank, FileId id) {
  ByteWriter writer;
  writer.PutBytes(AsBytes(NamesOf(kind).magic));
  writer.Put<uint32_t>(kBankFormat);
  writer.Put<uint32_t>(kFileHeaderBytes);
  writer.PutBytes(bank);
  writer.Put<int64_t>(id.value);
  writer.PutZeros(16);
  writer.Put<uint64_t>(Checksum64(writer.bytes()));
  std::array<std::byte, kFileHeaderBytes> header;
  MSA_CHECK(writer.bytes().size() == header.size());
  std::ranges::copy(writer.bytes(), header.begin());
  return header;
}

Status CheckFileHeader(const msa::File& file, FileKind kind, const BankId& bank, FileId id) {
  std::array<std::byte, kFileHeaderBytes> found;
  MSA_RETURN_IF_ERROR(file.ReadAt(0, found));
  const auto expected = FileHeader(kind, bank, id);
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] != expected[i]) {
      return DataLoss("file header, byte " + std::to_string(i) + ": found " +
                      std::to_string(static_cast<int>(found[i])) + ", expected " +
                      std::to_string(static_cast<int>(expected[i])));
    }
  }
  return OkStatus();
}

bool LiesIn(const std::string& path, const std::string& folder) {
  std::error_code ignored;
  const auto inner = std::filesystem::weakly_canonical(path, ignored)
                         .lexically_relative(std::filesystem::weakly_canonical(folder, ignored));
  return !inner.empty() && *inner.begin() != "..";
}

int64_t UnixMilliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace msa
