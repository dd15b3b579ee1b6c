// Parses HTML with gumbo under limits. Gumbo takes time quadratic in the depth of a page (measured:
// 9 s for 20,000 nested <div>), so a hostile page of a megabyte could hold us for hours; and it
// keeps some 10 to 100 bytes of tree a byte of page.
#pragma once

#include <gumbo.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "msa/base/status.h"

namespace msa {

struct HtmlLimits {
  int64_t tree_bytes = int64_t{4} << 30;
  double seconds = 20;
};

class HtmlTree {
 public:
  // kResourceExhausted past a limit. Nodes point into `html`, which must outlive the tree.
  static Result<HtmlTree> Parse(std::string_view html, const HtmlLimits& limits = {});
  HtmlTree(HtmlTree&&) noexcept;
  HtmlTree& operator=(HtmlTree&&) noexcept;
  ~HtmlTree();

  const GumboNode* root() const { return root_; }

 private:
  class Arena;
  explicit HtmlTree(std::unique_ptr<Arena> arena);

  std::unique_ptr<Arena> arena_;
  const GumboNode* root_ = nullptr;
};

}  // namespace msa
