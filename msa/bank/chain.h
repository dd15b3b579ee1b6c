// The append-only record of who did what to which document when. Entries name documents by random
// numbers and commit to their fields under a random salt, so that erasing the fields and the salt
// leaves a chain that still verifies and says nothing. docs/bank-format.md, "The chain".
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "msa/bank/bank.h"
#include "msa/base/hash.h"

namespace msa {

enum class ChainOperation : int64_t {
  kAdd = 1,
  kReplace = 2,
  kRevision = 3,
  kRemove = 4,
  kErase = 5,
  kSigningKey = 6,
  kMigrate = 7,
  kErased = 8,  // of what entries of kErase before it name, nothing is left
};

using RandomNumber = std::array<std::byte, 16>;
// From the system's generator.
RandomNumber MakeRandomNumber();

struct ChainEntry {
  int64_t seq = 0;
  int64_t unix_ms = 0;
  ChainOperation operation = ChainOperation::kAdd;
  int64_t revision = 0;
  RandomNumber number{};  // the document's; zero for a revision
  Digest commitment{};
};

Digest HashEntry(const Digest& previous, const ChainEntry& entry);

// What an entry commits to of a document.
struct CommittedFields {
  std::string_view key;
  std::string_view title;
  std::string_view source_path;
  std::string_view source_sha256;
  std::string_view media_type;
  std::string_view labels_json;
};
Digest CommitToDocument(const RandomNumber& salt, const CommittedFields& fields,
                        const Digest& text_hash);
// `salt`: zero in a bank without a cipher.
Digest CommitToRevision(const RandomNumber& salt, std::string_view author,
                        std::string_view message);
// Of a revision that goes back to `parent`; the parent of all others is the one before.
Digest CommitToRevert(const RandomNumber& salt, std::string_view author, std::string_view message,
                      int64_t parent);

}  // namespace msa
