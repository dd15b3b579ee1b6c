// How much of a bank's files is dead, and which of them are worth writing anew.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "msa/bank/catalog.h"
#include "msa/bank/retention.h"

namespace msa {

// When dead bytes are worth the copying of live ones.
struct CompactionPolicy {
  double dead_share;    // of the live bytes; above it, files are written anew
  int64_t least_bytes;  // dead ones below this are left
  bool drops_all;       // whatever is not kept goes, however little of its file it is
};

// At the end of a write. A file is written anew only where the share of its dead bytes is above the
// average, hence above dead_share, so that each byte which dies is paid for by copying at most
// 1 / 0.2 = 5 live ones, whatever is written and in which order. After it at most 0.2 of the live
// bytes are dead; until it is looked at again about another 1/16 may die (compaction_due.h; latents
// and postings are in proportion to text), which leaves the files below 1.3 times what is kept. A
// rewrite costs some ten syncs, a few milliseconds each: less than 1 MiB is not worth those.
inline constexpr CompactionPolicy kAutomaticCompaction{0.2, int64_t{1} << 20, false};
// When somebody asks, what is not kept goes wherever it lies; of other dead bytes, which keep their
// place for nobody's sake, one is worth copying 20 live ones.
inline constexpr CompactionPolicy kRequestedCompaction{0.05, 1, true};

struct FileUse {
  FileId id;
  FileKind kind = FileKind::kPack;
  EncodingId encoding;  // of tails and segments
  int64_t live = 0;
  int64_t expired = 0;  // named by rows whose latents or text are not kept
  int64_t dead = 0;     // these, and what nothing names
};

// Indices of the files to write anew, those with the largest share of dead bytes first: until what
// stays dead is within the policy, or while there is something to drop. A pure function.
std::vector<size_t> ChooseFiles(std::span<const FileUse> files, const CompactionPolicy& policy);

// What a bank does not keep any more.
class Expired {
 public:
  // kDataLoss: the catalog holds versions with numbers that no writer gave.
  static Result<Expired> Find(Catalog& catalog, const BankId& bank, int64_t unix_ms);

  bool text(int64_t version) const {
    return IsKnown(version) && texts_kept_ && !Holds(*texts_kept_, version);
  }
  // The latents of a version go with its text at the latest.
  bool latents(int64_t version) const {
    return IsKnown(version) &&
           (text(version) || !Holds(latents_kept_, version) || Holds(without_text_, version));
  }
  const Retention& retention() const { return retention_; }

 private:
  static bool Holds(const std::vector<int64_t>& versions, int64_t version) {
    return std::ranges::binary_search(versions, version);
  }
  // Others came after it was made.
  bool IsKnown(int64_t version) const { return version >= 0 && version <= newest_; }

  Retention retention_;
  int64_t newest_ = -1;
  // Versions, ascending.
  std::optional<std::vector<int64_t>> texts_kept_;  // nothing: all
  std::vector<int64_t> latents_kept_;
  std::vector<int64_t> without_text_;
};

// Files in the order of their numbers.
Result<std::vector<FileUse>> MeasurePacks(Catalog& catalog, const Expired& expired);
// Tails and segments of all encodings.
Result<std::vector<FileUse>> MeasureLatents(Catalog& catalog, const Expired& expired);
// A passage is dead in its shard once its text is gone; sizes are shares of the shard's.
Result<std::vector<FileUse>> MeasureShards(Catalog& catalog);

// Pages of the catalog that hold nothing, and all.
struct CatalogUse {
  int64_t bytes = 0;
  int64_t free_bytes = 0;
};
Result<CatalogUse> MeasureCatalog(Catalog& catalog);
bool IsWorthVacuum(const CatalogUse& use, const CompactionPolicy& policy);

}  // namespace msa
