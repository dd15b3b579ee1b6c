// Keeps the full-text shards up with the documents: new passages go to new shards, and shards of a
// size merge once there are several, so that their number grows with the logarithm of the bank up
// to a shard's largest size, and a passage is indexed a bounded number of times.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/catalog.h"
#include "msa/bank/lexical_shard.h"
#include "msa/bank/write_transaction.h"

namespace msa {

// A passage as the index took it.
struct IndexedPassage {
  PassageId passage;
  std::string title;
  std::string text;
};

class LexicalWriter {
 public:
  explicit LexicalWriter(WriteTransaction& transaction) : transaction_(transaction) {}

  // REQUIRES: ids ascend; the transaction is open. Writes a shard when enough has come.
  Status Add(PassageId passage, std::string_view title, std::string_view text);
  // Writes what is left and merges. Everything written is synced.
  Status Finish();
  // Writes a shard anew from the kept text of the versions that are there.
  Status Rebuild(const Catalog::ShardRow& shard) { return Merge({&shard, 1}); }
  // Writes a shard anew without `passages`, all of those in it whose versions are gone, as they
  // were added. The same as Rebuild for a fraction of its cost while they are few.
  Status Remove(const Catalog::ShardRow& shard, std::span<const IndexedPassage> passages);

 private:
  // Into the shard in the making, whatever its size.
  Status Index(PassageId passage, std::string_view title, std::string_view text);
  Status WriteShard();
  Status WriteImage(const LexicalShardBuilder& builder, std::span<const std::byte> image);
  Status Drop(const Catalog::ShardRow& shard);
  Status MergeShards();
  Status Merge(std::span<const Catalog::ShardRow> shards);
  Status AddCommitted(int64_t first_passage, int64_t end_passage);

  WriteTransaction& transaction_;
  std::unique_ptr<LexicalShardBuilder> builder_;
};

// Which neighbouring shards to merge next, as [begin, end) into `lengths`, their sizes in bytes in
// the order of their passages; empty if none. A pure function, so that tests can see its bounds.
struct MergeChoice {
  size_t begin = 0;
  size_t end = 0;
};
MergeChoice ChooseMerge(std::span<const int64_t> lengths);

}  // namespace msa
