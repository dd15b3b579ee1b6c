#include "msa/bank/latent_reader.h"

#include <numeric>

#include "msa/base/check.h"

namespace msa {
namespace {

Result<LatentBlock> OpenOrCopy(const LatentPlace& place, const LatentLayout& layout, int64_t first,
                               int64_t count, const LatentRows& rows) {
  if (layout.is_sealed) return OpenRows(place, layout, first, count, rows, true);
  const auto begin = place.chunks.begin() + first;
  return CopyRows({begin, begin + count}, place.chunk_tokens, rows);
}

}  // namespace

Result<LatentBlock> ReadPassageLatents(BankCore& core, const LatentLayout& layout,
                                       const LatentPlace& place, const Catalog::FileRow& file,
                                       int64_t first, int64_t count) {
  MSA_CHECK(first >= 0 && count >= 0 && count <= place.num_passages() - first);
  const auto begin = place.chunks.begin() + first;
  const int64_t row = std::accumulate(place.chunks.begin(), begin, int64_t{0});
  const int64_t num_rows = std::accumulate(begin, begin + count, int64_t{0});
  if (place.kind == FileKind::kSegment) {
    MSA_ASSIGN_OR_RETURN(const auto segment, core.segments.Open(file, layout));
    MSA_ASSIGN_OR_RETURN(const LatentRows rows,
                         segment->ReadRows(place.position + row, num_rows, true));
    return OpenOrCopy(place, layout, first, count, rows);
  }
  const LatentRowSizes sizes(layout);
  MSA_ASSIGN_OR_RETURN(const auto tail, core.files.Open(FileKind::kTail, place.file));
  const auto block = TailBlock::Read(*tail, sizes, place);
  if (!block.ok()) {
    return block.status().WithContext(core.layout.File(FileKind::kTail, place.file));
  }
  return OpenOrCopy(place, layout, first, count, SliceRows(block->rows(), sizes, row, num_rows));
}

}  // namespace msa
