#include "msa/bank/latent_reuse.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "msa/bank/latent_catalog.h"
#include "msa/bank/latent_reader.h"
#include "msa/bank/pack.h"

namespace msa {
namespace {

constexpr int64_t kNone = -1;

std::string_view Key(std::span<const int32_t> tokens) { return AsChars(std::as_bytes(tokens)); }

// For each passage, the index of one with the same tokens in the older version, or kNone.
std::vector<int64_t> MatchPassages(const DocumentContent& older,
                                   std::span<const NewPassage> passages) {
  std::unordered_map<std::string_view, int64_t> by_tokens;
  for (size_t i = 0; i < older.tokens.size(); ++i) {
    if (!older.tokens[i].empty()) {
      by_tokens.emplace(Key(older.tokens[i]), static_cast<int64_t>(i));
    }
  }
  std::vector<int64_t> matches;
  for (const NewPassage& passage : passages) {
    const auto found = by_tokens.find(Key(passage.tokens));
    matches.push_back(found == by_tokens.end() ? kNone : found->second);
  }
  return matches;
}

// The place that holds passage `index`; null if none does. `places` ascend.
const LatentPlace* FindIn(const std::vector<LatentPlace>& places, int64_t index) {
  const auto after = std::ranges::upper_bound(places, index, {}, &LatentPlace::first_passage);
  if (after == places.begin()) return nullptr;
  const LatentPlace& place = *std::prev(after);
  return index < place.first_passage + place.num_passages() ? &place : nullptr;
}

// Copies the latents of one encoding, a run of neighbours in one place at a time. Returns how many
// passages were copied.
Result<int64_t> CopyMatches(WriteTransaction& transaction, LatentWriter& writer,
                            const EncodingInfo& encoding, const std::vector<LatentPlace>& places,
                            VersionId version, std::span<const int64_t> matches) {
  int64_t copied = 0;
  for (size_t begin = 0; begin < matches.size();) {
    const LatentPlace* place = matches[begin] == kNone ? nullptr : FindIn(places, matches[begin]);
    if (place == nullptr) {
      ++begin;
      continue;
    }
    const int64_t place_end = place->first_passage + place->num_passages();
    size_t end = begin + 1;
    while (end < matches.size() && matches[end] == matches[end - 1] + 1 &&
           matches[end] < place_end) {
      ++end;
    }
    const auto count = static_cast<int64_t>(end - begin);
    MSA_ASSIGN_OR_RETURN(const auto files, transaction.catalog().Files(place->file));
    if (files.empty()) return DataLoss("catalog: file " + std::to_string(place->file.value));
    const auto block =
        ReadPassageLatents(transaction.core(), encoding.layout, *place, files.front(),
                           matches[begin] - place->first_passage, count);
    if (block.ok()) {
      MSA_RETURN_IF_ERROR(writer.Add(encoding.id, version, static_cast<int64_t>(begin), *block));
      copied += count;
    } else if (block.status().code() != StatusCode::kDataLoss) {
      return block.status();
    }
    begin = end;
  }
  return copied;
}

}  // namespace

Result<int64_t> ReuseLatents(WriteTransaction& transaction, LatentWriter& writer,
                             const VersionRow& older, VersionId version,
                             std::span<const NewPassage> passages) {
  if (!older.info.text_kept) return 0;
  Catalog& catalog = transaction.catalog();
  MSA_ASSIGN_OR_RETURN(const auto encodings, ReadEncodings(catalog));
  std::vector<int64_t> matches;  // found once there is an encoding with latents to copy
  int64_t copied = 0;
  for (const EncodingInfo& encoding : encodings) {
    copied = 0;
    MSA_ASSIGN_OR_RETURN(const auto places, ReadPlacesOf(catalog, encoding.id, older.info.version));
    if (places.empty()) continue;
    if (matches.empty()) {
      // Not through the cache of contents: the version may be one that is never committed.
      MSA_ASSIGN_OR_RETURN(const auto pack,
                           transaction.files().Open(FileKind::kPack, older.frame.file));
      const auto content = ReadFrame(*pack, older.frame, PassageId{older.first_passage});
      if (content.status().code() == StatusCode::kDataLoss) return 0;
      MSA_RETURN_IF_ERROR(content.status());
      matches = MatchPassages(*content, passages);
    }
    MSA_ASSIGN_OR_RETURN(copied,
                         CopyMatches(transaction, writer, encoding, places, version, matches));
  }
  return copied;
}

}  // namespace msa
