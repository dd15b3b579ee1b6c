// Where a passage may end.
#pragma once

#include <cstddef>
#include <string_view>

namespace msa {

// The end of a passage that begins at `begin` and may reach to `limit` at most: the best boundary
// in the second half of [begin, limit], in SplitPassages' order of preference. The result is
// greater than `begin`, at most `limit` (but for a single character longer than that), no white
// space before it, and inside no UTF-8 character. REQUIRES: begin < limit <= text.size(),
// text[begin] is no white space. Cost: linear in the limit's distance.
size_t ChooseBoundary(std::string_view text, size_t begin, size_t limit);

}  // namespace msa
