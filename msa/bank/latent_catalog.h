// Encodings and places of latents in the catalog, as readers and the writer need them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/bank/catalog.h"
#include "msa/bank/latents.h"

namespace msa {

// Of a place.
inline constexpr int64_t kMaxChunks = kMaxPassages << 16;

Result<std::vector<EncodingInfo>> ReadEncodings(Catalog& catalog);
Result<std::optional<EncodingInfo>> FindEncoding(Catalog& catalog, EncodingId id);
// That of latents in a file. kDataLoss: there is none.
Result<EncodingInfo> GetEncoding(Catalog& catalog, EncodingId id);

// Ascending by version and passage.
Result<std::vector<LatentPlace>> ReadPlaces(Catalog& catalog, EncodingId encoding);
// Those of one version, ascending by passage.
Result<std::vector<LatentPlace>> ReadPlacesOf(Catalog& catalog, EncodingId encoding,
                                              VersionId version);
// The last place of a version that begins at passage `index` or before.
Result<std::optional<LatentPlace>> FindPlaceUpTo(Catalog& catalog, EncodingId encoding,
                                                 VersionId version, int64_t index);
// The place of passage `index` of a version.
Result<std::optional<LatentPlace>> FindPlace(Catalog& catalog, EncodingId encoding,
                                             VersionId version, int64_t index);
Result<std::vector<LatentPlace>> ReadPlacesInFile(Catalog& catalog, EncodingId encoding,
                                                  FileId file);

// Deletes their rows. REQUIRES: a transaction is open.
Status DropPlaces(Catalog& catalog, std::span<const LatentPlace> places);

}  // namespace msa
