#include "msa/bank/lexical_writer.h"

#include <algorithm>

#include "msa/bank/blocks.h"
#include "msa/bank/shard_image.h"
#include "msa/base/utf8.h"

namespace msa {
namespace {

// A shard of new passages is built in memory: about its text once more, so this bounds the writer's
// memory. Merging is bounded by the sizes of what it merges, and always makes one shard of several,
// however many small passages they hold: two would be merged again without end.
constexpr int64_t kShardTextBytes = int64_t{48} << 20;
constexpr int64_t kShardPassages = 131072;

// Tiers of merging: below 256 KiB, 2 MiB and 16 MiB; larger shards stay as they are.
constexpr int64_t kTierBytes[] = {int64_t{256} << 10, int64_t{2} << 20, int64_t{16} << 20};
constexpr size_t kMergeShards = 8;
constexpr int64_t kLargestMergeBytes = int64_t{32} << 20;

struct EditedShard {
  std::unique_ptr<LexicalShardBuilder> builder;
  std::vector<std::byte> image;
};

// The shard without `passages`. kDataLoss if it is not what the catalog says, or does not hold them
// in these words.
Result<EditedShard> TakeOut(BankCore& core, const Catalog::ShardRow& shard,
                            std::span<const IndexedPassage> passages) {
  MSA_ASSIGN_OR_RETURN(const auto file,
                       ShardImage::Open(core.layout.File(FileKind::kLexical, shard.file),
                                        shard.length_bytes, shard.blocks, core.cipher.get()));
  MSA_ASSIGN_OR_RETURN(const std::vector<std::byte> image, file->ReadAll());
  EditedShard edited;
  MSA_ASSIGN_OR_RETURN(edited.builder, LexicalShardBuilder::Reopen(image));
  for (const IndexedPassage& passage : passages) {
    MSA_RETURN_IF_ERROR(edited.builder->Remove(passage.passage, passage.title, passage.text));
  }
  MSA_ASSIGN_OR_RETURN(edited.image, edited.builder->Finish());
  return edited;
}

}  // namespace

MergeChoice ChooseMerge(std::span<const int64_t> lengths) {
  int64_t smaller_tier = 0;
  for (const int64_t tier : kTierBytes) {
    // Runs of neighbours below `tier`. Only shards of the tier itself count towards a merge: with
    // smaller ones counted too, each of those would soon make us write the larger ones again.
    MergeChoice run;
    size_t members = 0;
    for (size_t i = 0; i < lengths.size() && members < kMergeShards; ++i) {
      if (lengths[i] >= tier) {
        members = 0;
      } else if (lengths[i] >= smaller_tier) {
        if (members++ == 0) run.begin = i;
        run.end = i + 1;
      }
    }
    if (members == kMergeShards) {
      int64_t bytes = 0;
      size_t end = run.begin;
      while (end < run.end && bytes + lengths[end] <= kLargestMergeBytes) bytes += lengths[end++];
      return {run.begin, end};
    }
    smaller_tier = tier;
  }
  return {};
}

Status LexicalWriter::Index(PassageId passage, std::string_view title, std::string_view text) {
  if (builder_ == nullptr) {
    MSA_ASSIGN_OR_RETURN(builder_, LexicalShardBuilder::Create(passage));
  }
  return builder_->Add(passage, title, text);
}

Status LexicalWriter::Add(PassageId passage, std::string_view title, std::string_view text) {
  MSA_RETURN_IF_ERROR(Index(passage, title, text));
  if (builder_->text_bytes() < kShardTextBytes && builder_->passages() < kShardPassages) {
    return OkStatus();
  }
  return WriteShard();
}

Status LexicalWriter::Finish() {
  MSA_RETURN_IF_ERROR(WriteShard());
  return MergeShards();
}

Status LexicalWriter::WriteShard() {
  if (builder_ == nullptr) return OkStatus();
  const auto builder = std::move(builder_);
  MSA_ASSIGN_OR_RETURN(const std::vector<std::byte> image, builder->Finish());
  return WriteImage(*builder, image);
}

Status LexicalWriter::WriteImage(const LexicalShardBuilder& builder,
                                 std::span<const std::byte> image) {
  const BankCore& core = transaction_.core();
  std::vector<std::byte> sealed;
  if (core.cipher != nullptr) {
    MSA_ASSIGN_OR_RETURN(sealed, SealShardImage(image, core.identity.id, *core.cipher));
    image = sealed;
  }
  MSA_ASSIGN_OR_RETURN(const FileId id, transaction_.NewFile(FileKind::kLexical));
  const std::string path = core.layout.File(FileKind::kLexical, id);
  MSA_ASSIGN_OR_RETURN(auto file, transaction_.fs().Open(path, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(file->Truncate(0));
  MSA_RETURN_IF_ERROR(file->WriteAt(0, image));
  MSA_RETURN_IF_ERROR(file->Sync());
  MSA_RETURN_IF_ERROR(file->Close());
  const std::vector<uint64_t> blocks = BlockChecksums(image);
  const auto block_bytes = std::as_bytes(std::span(blocks));
  MSA_RETURN_IF_ERROR(transaction_.SetFile(id, static_cast<int64_t>(image.size()),
                                           Checksum64(block_bytes), block_bytes));
  MSA_ASSIGN_OR_RETURN(Statement insert, transaction_.catalog().db().Prepare(
                                             "INSERT INTO shards VALUES(?1, ?2, ?3, ?4)"));
  return insert
      .Bind(id.value, builder.first_passage().value, builder.end_passage().value,
            builder.passages())
      .Run();
}

Status LexicalWriter::MergeShards() {
  while (true) {
    MSA_ASSIGN_OR_RETURN(const auto shards, transaction_.catalog().Shards());
    std::vector<int64_t> lengths;
    for (const auto& shard : shards) lengths.push_back(shard.length_bytes);
    const MergeChoice choice = ChooseMerge(lengths);
    if (choice.begin == choice.end) return OkStatus();
    MSA_RETURN_IF_ERROR(Merge(std::span(shards).subspan(choice.begin, choice.end - choice.begin)));
  }
}

Status LexicalWriter::Drop(const Catalog::ShardRow& shard) {
  MSA_ASSIGN_OR_RETURN(Statement remove,
                       transaction_.catalog().db().Prepare("DELETE FROM shards WHERE file = ?1"));
  MSA_RETURN_IF_ERROR(remove.Bind(shard.file.value).Run());
  const BankCore& core = transaction_.core();
  if (core.cipher != nullptr) {
    const auto number = ReadShardNumber(core.fs, core.layout.File(FileKind::kLexical, shard.file));
    // Of a damaged one the key is destroyed when something is erased.
    if (number.ok()) transaction_.DestroyKeyAfterCommit(*number);
  }
  return transaction_.RemoveAfterCommit(FileKind::kLexical, shard.file);
}

Status LexicalWriter::Remove(const Catalog::ShardRow& shard,
                             std::span<const IndexedPassage> passages) {
  // Of half a shard, indexing what stays costs no more than taking out what goes.
  if (2 * static_cast<int64_t>(passages.size()) >= shard.passages) return Rebuild(shard);
  auto edited = TakeOut(transaction_.core(), shard, passages);
  // Damage in the shard, a key that is gone, or an SQLite that tells words apart otherwise than the
  // one that wrote it.
  if (edited.status().code() == StatusCode::kDataLoss ||
      edited.status().code() == StatusCode::kNotFound) {
    return Rebuild(shard);
  }
  MSA_RETURN_IF_ERROR(edited.status());
  MSA_RETURN_IF_ERROR(Drop(shard));
  return WriteImage(*edited->builder, edited->image);
}

Status LexicalWriter::Merge(std::span<const Catalog::ShardRow> shards) {
  for (const auto& shard : shards) MSA_RETURN_IF_ERROR(Drop(shard));
  MSA_RETURN_IF_ERROR(AddCommitted(shards.front().first_passage, shards.back().end_passage));
  return WriteShard();
}

// Indexes the passages in a range again, from kept text.
Status LexicalWriter::AddCommitted(int64_t first_passage, int64_t end_passage) {
  return transaction_.catalog().ForEachInRange(
      first_passage, end_passage, [&](const VersionRow& version) -> Status {
        if (!version.info.text_kept) return OkStatus();
        const FileId pack = version.frame.file;
        MSA_ASSIGN_OR_RETURN(const auto file, transaction_.files().Open(FileKind::kPack, pack));
        const auto content = ReadFrame(*file, version.frame, PassageId{version.first_passage});
        if (!content.ok()) {
          return content.status().WithContext(
              transaction_.core().layout.File(FileKind::kPack, pack));
        }
        for (const PassageInfo& passage : content->passages) {
          // A version may lie across the border of two shards.
          if (passage.id.value < first_passage || passage.id.value >= end_passage) continue;
          MSA_RETURN_IF_ERROR(Index(passage.id, version.info.title,
                                    TextBetween(content->text, passage.begin, passage.end)));
        }
        return OkStatus();
      });
}

}  // namespace msa
