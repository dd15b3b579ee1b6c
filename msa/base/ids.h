// Ids are types, so that a document's number can never stand where a passage's belongs.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace msa {

// A 64-bit id of one kind; negative means "none".
template <class Tag>
struct Id {
  int64_t value = -1;

  constexpr bool valid() const { return value >= 0; }
  friend constexpr auto operator<=>(Id, Id) = default;
};

using DocId = Id<struct DocTag>;            // a document, whatever its versions
using VersionId = Id<struct VersionTag>;    // one text of a document
using RevisionId = Id<struct RevisionTag>;  // one committed state of a bank
using EncodingId =
    Id<struct EncodingTag>;         // a (backbone, adapter) fingerprint with its configuration
using FileId = Id<struct FileTag>;  // a segment, pack or lexical shard
// A passage of a version, unique in a bank for ever; ascending in the order of addition.
using PassageId = Id<struct PassageTag>;

inline constexpr PassageId kNoPassage{-1};

}  // namespace msa

template <class Tag>
struct std::hash<msa::Id<Tag>> {
  size_t operator()(msa::Id<Tag> id) const noexcept { return std::hash<int64_t>()(id.value); }
};
