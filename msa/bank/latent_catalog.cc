#include "msa/bank/latent_catalog.h"

#include <cstring>
#include <numeric>

namespace msa {
namespace {

constexpr char kSelectEncoding[] =
    "SELECT id, fingerprint, config, key_dim, layers, kv_heads, head_dim, key_dtype, latent_dtype"
    " FROM encodings ";

constexpr char kSelectPlace[] =
    "SELECT p.version, p.first_passage, p.num_passages, p.num_chunks, p.chunk_tokens, p.chunks,"
    " p.file, p.position, p.checksum, f.kind, p.encoding FROM places p JOIN files f ON f.id = "
    "p.file ";

constexpr int64_t kMaxPosition = int64_t{1} << 62;

Result<EncodingInfo> ReadEncoding(const Catalog& catalog, const Statement& row) {
  EncodingInfo encoding;
  encoding.id = EncodingId{row.Int(0)};
  encoding.fingerprint = row.Text(1);
  encoding.config_json = row.Text(2);
  LatentLayout& layout = encoding.layout;
  layout.key_dim = row.Int(3);
  layout.layers = row.Int(4);
  layout.kv_heads = row.Int(5);
  layout.head_dim = row.Int(6);
  const auto key_dtype = ParseDType(row.Text(7));
  const auto latent_dtype = ParseDType(row.Text(8));
  if (!key_dtype || !latent_dtype || !IsInBounds(layout)) {
    return DataLoss("catalog: encoding " + std::to_string(row.Int(0)) + " has an invalid layout");
  }
  layout.key_dtype = *key_dtype;
  layout.latent_dtype = *latent_dtype;
  layout.is_sealed = catalog.cipher() != nullptr;
  return encoding;
}

Result<LatentPlace> ReadPlace(Catalog& catalog, const Statement& row) {
  LatentPlace place;
  place.version = row.Int(0);
  place.first_passage = row.Int(1);
  const int64_t num_passages = row.Int(2);
  place.num_chunks = row.Int(3);
  place.chunk_tokens = row.Int(4);
  const auto chunks = row.Blob(5);
  place.file = FileId{row.Int(6)};
  place.position = row.Int(7);
  place.checksum = static_cast<uint64_t>(row.Int(8));
  place.kind = static_cast<FileKind>(row.Int(9));
  place.encoding = EncodingId{row.Int(10)};
  MSA_ASSIGN_OR_RETURN(place.sealer, catalog.FindSealer(VersionId{place.version}));
  place.chunks.resize(chunks.size() / sizeof(uint16_t));
  if (!place.chunks.empty()) {
    std::memcpy(place.chunks.data(), chunks.data(), place.chunks.size() * sizeof(uint16_t));
  }
  const int64_t sum = std::accumulate(place.chunks.begin(), place.chunks.end(), int64_t{0});
  const auto in_bounds = [](int64_t value) { return value >= 0 && value <= kMaxPosition; };
  if (num_passages > kMaxPassages || place.num_passages() != num_passages ||
      sum != place.num_chunks || !in_bounds(place.first_passage) || !in_bounds(place.position) ||
      (place.kind != FileKind::kTail && place.kind != FileKind::kSegment)) {
    return DataLoss("catalog: the latents of version " + std::to_string(place.version) +
                    " have a row that contradicts itself");
  }
  return place;
}

Result<std::vector<LatentPlace>> AllPlaces(Catalog& catalog, Statement& rows) {
  std::vector<LatentPlace> places;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return places;
    MSA_ASSIGN_OR_RETURN(LatentPlace place, ReadPlace(catalog, rows));
    places.push_back(std::move(place));
  }
}

}  // namespace

Result<std::vector<EncodingInfo>> ReadEncodings(Catalog& catalog) {
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       catalog.db().Prepare(std::string(kSelectEncoding) + "ORDER BY id"));
  std::vector<EncodingInfo> encodings;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return encodings;
    MSA_ASSIGN_OR_RETURN(EncodingInfo encoding, ReadEncoding(catalog, rows));
    encodings.push_back(std::move(encoding));
  }
}

Result<std::optional<EncodingInfo>> FindEncoding(Catalog& catalog, EncodingId id) {
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       catalog.db().Prepare(std::string(kSelectEncoding) + "WHERE id = ?1"));
  MSA_ASSIGN_OR_RETURN(const bool row, rows.Bind(id.value).Step());
  if (!row) return std::optional<EncodingInfo>();
  MSA_ASSIGN_OR_RETURN(EncodingInfo encoding, ReadEncoding(catalog, rows));
  return std::optional<EncodingInfo>(std::move(encoding));
}

Result<EncodingInfo> GetEncoding(Catalog& catalog, EncodingId id) {
  MSA_ASSIGN_OR_RETURN(auto encoding, FindEncoding(catalog, id));
  if (!encoding) return DataLoss("catalog: latents without their encoding");
  return *std::move(encoding);
}

Result<std::vector<LatentPlace>> ReadPlaces(Catalog& catalog, EncodingId encoding) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare(std::string(kSelectPlace) +
                           "WHERE p.encoding = ?1 ORDER BY p.version, p.first_passage"));
  return AllPlaces(catalog, rows.Bind(encoding.value));
}

Result<std::vector<LatentPlace>> ReadPlacesOf(Catalog& catalog, EncodingId encoding,
                                              VersionId version) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare(std::string(kSelectPlace) + "WHERE p.encoding = ?1 AND p.version = ?2"
                                                       " ORDER BY p.first_passage"));
  return AllPlaces(catalog, rows.Bind(encoding.value, version.value));
}

Result<std::optional<LatentPlace>> FindPlaceUpTo(Catalog& catalog, EncodingId encoding,
                                                 VersionId version, int64_t index) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare(std::string(kSelectPlace) +
                           "WHERE p.encoding = ?1 AND p.version = ?2 AND p.first_passage <= ?3"
                           " ORDER BY p.first_passage DESC LIMIT 1"));
  MSA_ASSIGN_OR_RETURN(const bool row, rows.Bind(encoding.value, version.value, index).Step());
  if (!row) return std::optional<LatentPlace>();
  MSA_ASSIGN_OR_RETURN(LatentPlace place, ReadPlace(catalog, rows));
  return std::optional<LatentPlace>(std::move(place));
}

Result<std::optional<LatentPlace>> FindPlace(Catalog& catalog, EncodingId encoding,
                                             VersionId version, int64_t index) {
  MSA_ASSIGN_OR_RETURN(auto place, FindPlaceUpTo(catalog, encoding, version, index));
  if (place && index >= place->first_passage + place->num_passages()) place.reset();
  return place;
}

Result<std::vector<LatentPlace>> ReadPlacesInFile(Catalog& catalog, EncodingId encoding,
                                                  FileId file) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      catalog.db().Prepare(std::string(kSelectPlace) + "WHERE p.file = ?1 AND p.encoding = ?2"
                                                       " ORDER BY p.version, p.first_passage"));
  return AllPlaces(catalog, rows.Bind(file.value, encoding.value));
}

Status DropPlaces(Catalog& catalog, std::span<const LatentPlace> places) {
  MSA_ASSIGN_OR_RETURN(Statement drop,
                       catalog.db().Prepare("DELETE FROM places WHERE encoding = ?1"
                                            " AND version = ?2 AND first_passage = ?3"));
  for (const LatentPlace& place : places) {
    MSA_RETURN_IF_ERROR(drop.Bind(place.encoding.value, place.version, place.first_passage).Run());
  }
  return OkStatus();
}

}  // namespace msa
