#include "msa/bank/latent_reader.h"

#include <cstring>
#include <numeric>

#include "msa/base/check.h"

namespace msa {
namespace {

std::vector<float> Floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

Result<LatentBlock> CopyRows(const LatentPlace& place, const LatentLayout& layout, int64_t first,
                             int64_t count, const LatentRows& rows) {
  if (layout.is_sealed) return OpenRows(place, layout, first, count, rows, true);
  LatentBlock block;
  const auto begin = place.chunks.begin() + first;
  block.chunks.assign(begin, begin + count);
  block.chunk_tokens = place.chunk_tokens;
  block.keys.assign(rows.keys.begin(), rows.keys.end());
  block.key_scales = Floats(rows.key_scales);
  block.latents.assign(rows.latents.begin(), rows.latents.end());
  block.latent_scales = Floats(rows.latent_scales);
  return block;
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
    return CopyRows(place, layout, first, count, rows);
  }
  const LatentRowSizes sizes(layout);
  MSA_ASSIGN_OR_RETURN(const auto tail, core.files.Open(FileKind::kTail, place.file));
  const auto block = TailBlock::Read(*tail, sizes, place);
  if (!block.ok()) {
    return block.status().WithContext(core.layout.File(FileKind::kTail, place.file));
  }
  return CopyRows(place, layout, first, count, SliceRows(block->rows(), sizes, row, num_rows));
}

}  // namespace msa
