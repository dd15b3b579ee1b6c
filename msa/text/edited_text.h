// A text made from another by local replacements, with the way back for offsets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace msa {

struct EditedText {
  // text[begin, end) stands for source[source_begin, source_end).
  struct Edit {
    int64_t begin;
    int64_t end;
    int64_t source_begin;
    int64_t source_end;
  };

  std::string text;
  std::vector<Edit> edits;  // ascending, disjoint; the rest of the text is the source's

  // Where an offset into `text` lies in the source; inside a replacement, where that one begins.
  int64_t ToSource(int64_t offset) const {
    const auto after = std::ranges::upper_bound(edits, offset, {}, &Edit::begin);
    if (after == edits.begin()) return offset;
    const Edit& edit = *(after - 1);
    return offset < edit.end ? edit.source_begin : edit.source_end + (offset - edit.end);
  }
};

}  // namespace msa
