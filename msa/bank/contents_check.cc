#include "msa/bank/contents_check.h"

#include <algorithm>

#include "msa/bank/blocks.h"
#include "msa/bank/pack.h"
#include "msa/base/hash.h"

namespace msa {

Status CheckFrame(const File& pack, const VersionRow& version) {
  MSA_ASSIGN_OR_RETURN(const DocumentContent content,
                       ReadFrame(pack, version.frame, PassageId{version.first_passage}));
  int64_t tokens = 0;
  for (const auto& ids : content.tokens) tokens += static_cast<int64_t>(ids.size());
  if (Blake2b(AsBytes(content.text)) != version.text_hash) {
    return DataLoss("its text is not the one that its row names");
  }
  if (static_cast<int64_t>(content.passages.size()) != version.info.num_passages ||
      tokens != version.info.num_tokens ||
      static_cast<int64_t>(content.text.size()) != version.info.text_bytes) {
    return DataLoss("its frame and its row differ in passages, tokens or bytes of text");
  }
  return OkStatus();
}

Status CheckShardFile(const std::string& path, const Catalog::FileRow& row) {
  MSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const auto found = BlockChecksums(file.bytes());
  const auto found_bytes = std::as_bytes(std::span(found));
  if (static_cast<int64_t>(file.bytes().size()) != row.length ||
      row.blocks.size() != found_bytes.size() || Checksum64(row.blocks) != row.checksum) {
    return DataLoss("its length or its checksums are not those of the catalog");
  }
  for (size_t i = 0; i < found.size(); ++i) {
    const auto expected = std::span(row.blocks).subspan(i * sizeof(uint64_t), sizeof(uint64_t));
    if (!std::ranges::equal(found_bytes.subspan(i * sizeof(uint64_t), sizeof(uint64_t)),
                            expected)) {
      return DataLoss("wrong checksum of the block at byte " + std::to_string(i * kBlockBytes));
    }
  }
  return OkStatus();
}

Result<std::shared_ptr<const Segment>> CheckSegmentFile(const std::string& path,
                                                        const LatentLayout& layout,
                                                        const Catalog::FileRow& row) {
  MSA_ASSIGN_OR_RETURN(auto segment, Segment::Open(path, layout, row.length, row.checksum));
  MSA_RETURN_IF_ERROR(segment->ReadRows(0, segment->num_rows(), true).status());
  return segment;
}

}  // namespace msa
