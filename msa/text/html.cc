// From a parsed page to text that reads like the page: a pass over the tree without recursion, so
// that depth costs memory and never the stack.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "msa/text/decode.h"
#include "msa/text/html_tree.h"
#include "msa/text/loader.h"
#include "msa/text/whitespace.h"

namespace msa {
namespace {

enum class Layout {
  kInline,
  kSkip,   // not part of what the page says
  kLine,   // on lines of its own
  kBlock,  // between blank lines
};

Layout LayoutOf(GumboTag tag) {
  switch (tag) {
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_OBJECT:
    case GUMBO_TAG_CANVAS:
    case GUMBO_TAG_AUDIO:
    case GUMBO_TAG_VIDEO:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_BUTTON:
    case GUMBO_TAG_TEXTAREA: return Layout::kSkip;
    case GUMBO_TAG_P:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_UL:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_HR:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_MAIN: return Layout::kBlock;
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_TR:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TH:
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_DETAILS:
    case GUMBO_TAG_SUMMARY:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_FORM: return Layout::kLine;
    default: return Layout::kInline;
  }
}

bool IsCell(GumboTag tag) { return tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH; }

bool IsHidden(const GumboElement& element) {
  if (element.attributes.length == 0) return false;
  if (gumbo_get_attribute(&element.attributes, "hidden") != nullptr) return true;
  const GumboAttribute* hidden = gumbo_get_attribute(&element.attributes, "aria-hidden");
  if (hidden != nullptr && std::string_view(hidden->value) == "true") return true;
  const GumboAttribute* role = gumbo_get_attribute(&element.attributes, "role");
  return role != nullptr && std::string_view(role->value) == "navigation";
}

// Visits a subtree in document order. `enter` returns whether to go into a node.
template <class Enter, class Leave>
void Walk(const GumboNode* root, Enter enter, Leave leave) {
  struct Frame {
    const GumboNode* node;
    unsigned next_child;
  };
  if (!enter(root)) return;
  std::vector<Frame> stack = {{root, 0}};
  while (!stack.empty()) {
    Frame& top = stack.back();
    const bool has_children =
        top.node->type == GUMBO_NODE_ELEMENT || top.node->type == GUMBO_NODE_DOCUMENT;
    const GumboVector* children = !has_children ? nullptr
                                  : top.node->type == GUMBO_NODE_DOCUMENT
                                      ? &top.node->v.document.children
                                      : &top.node->v.element.children;
    if (children == nullptr || top.next_child == children->length) {
      leave(top.node);
      stack.pop_back();
      continue;
    }
    const auto* child = static_cast<const GumboNode*>(children->data[top.next_child++]);
    if (enter(child)) stack.push_back({child, 0});
  }
}

// Whether a table holds data, a row of which reads well on one line, rather than laying out the
// page: rows of several cells, and nothing in them that needs lines of its own. Stops at the first
// inner table, so nested tables cost no more than flat ones.
bool IsDataTable(const GumboNode* table) {
  bool plain = true;
  bool several_cells = false;
  int cells_in_row = 0;
  int paragraphs_in_cell = 0;
  const auto enter = [&](const GumboNode* node) {
    if (!plain || node->type != GUMBO_NODE_ELEMENT) return false;
    const GumboTag tag = node->v.element.tag;
    if (tag == GUMBO_TAG_TR) cells_in_row = 0;
    if (IsCell(tag)) {
      several_cells |= ++cells_in_row > 1;
      paragraphs_in_cell = 0;
    }
    const bool paragraph = tag == GUMBO_TAG_P;
    if (node != table && tag != GUMBO_TAG_CAPTION && !paragraph) {
      plain = LayoutOf(tag) != Layout::kBlock;
    }
    if (paragraph && ++paragraphs_in_cell > 1) plain = false;
    return plain;
  };
  Walk(table, enter, [](const GumboNode*) {});
  return plain && several_cells;
}

// Builds the text: white space runs collapse, and breaks are written only once text follows.
class TextWriter {
 public:
  void AddText(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      if (const size_t blank = SpaceLength(text, i)) {
        space_ = true;
        i += blank;
        continue;
      }
      if (const size_t invisible = InvisibleLength(text, i)) {
        i += invisible;
        continue;
      }
      StartText();
      const size_t begin = i;
      while (i < text.size() && SpaceLength(text, i) == 0 && InvisibleLength(text, i) == 0) ++i;
      out_.append(text.substr(begin, i - begin));
    }
  }

  void AddPreformatted(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      const size_t end = std::min(text.find('\n', i), text.size());
      if (end > i) {
        space_ = false;
        StartText();
        out_.append(text.substr(i, end - i));
      }
      if (end < text.size()) {
        if (!out_.empty() && breaks_ == 0) out_.push_back('\n');
      }
      i = end + 1;
    }
  }

  // At least `count` line ends before the next text: 1 ends the line, 2 leaves a blank one.
  void Break(int count) {
    if (row_depth_ > 0) {
      space_ = true;
    } else {
      breaks_ = std::max(breaks_, count);
    }
  }
  void AddLineBreak() { Break(std::min(breaks_ + 1, 2)); }

  void BeginRow() {
    Break(1);
    ++row_depth_;
    separators_ = -1;  // none before the first cell
  }
  void BeginCell() {
    space_ = false;
    ++separators_;
  }
  void EndRow() {
    --row_depth_;
    separators_ = 0;
    Break(1);
  }

  // Before the next text, once: the mark of a list item.
  void SetMark(std::string mark) { mark_ = std::move(mark); }
  void DropMark() { mark_.clear(); }

  size_t size() const { return out_.size(); }
  std::string_view written_since(size_t begin) const {
    return std::string_view(out_).substr(std::min(begin, out_.size()));
  }
  std::string Take() {
    out_.resize(TrimEnd(out_, 0, out_.size()));
    if (!out_.empty()) out_.push_back('\n');
    return std::move(out_);
  }

 private:
  // Soft hyphen, zero-width space, byte order mark: they would split words for search.
  static size_t InvisibleLength(std::string_view text, size_t i) {
    const std::string_view rest = text.substr(i, 3);
    if (rest.starts_with("\u00ad")) return 2;
    return rest == "\u200b" || rest == "\ufeff" ? 3 : 0;
  }

  void StartText() {
    if (breaks_ > 0) {
      if (!out_.empty()) {
        out_.resize(TrimEnd(out_, 0, out_.size()));
        out_.append(static_cast<size_t>(breaks_), '\n');
      }
      breaks_ = 0;
      space_ = false;
    }
    if (separators_ > 0) {
      for (; separators_ > 0; --separators_) out_ += AtLineStart() ? "| " : " | ";
      space_ = false;
    }
    if (!mark_.empty()) {
      out_ += mark_;
      mark_.clear();
      space_ = false;
    }
    if (space_ && !AtLineStart()) out_.push_back(' ');
    space_ = false;
  }

  bool AtLineStart() const { return out_.empty() || out_.back() == '\n'; }

  std::string out_;
  std::string mark_;
  int breaks_ = 0;
  bool space_ = false;
  int row_depth_ = 0;
  int separators_ = 0;  // cells begun since the last text of this row
};

class Extractor {
 public:
  bool Enter(const GumboNode* node) {
    switch (node->type) {
      case GUMBO_NODE_TEXT:
      case GUMBO_NODE_CDATA:
      case GUMBO_NODE_WHITESPACE:
        if (preformatted_ > 0) {
          writer_.AddPreformatted(node->v.text.text);
        } else {
          writer_.AddText(node->v.text.text);
        }
        return false;
      case GUMBO_NODE_DOCUMENT: return true;
      case GUMBO_NODE_ELEMENT: return EnterElement(node);
      default: return false;
    }
  }

  void Leave(const GumboNode* node) {
    if (node->type != GUMBO_NODE_ELEMENT) return;
    const GumboTag tag = node->v.element.tag;
    if (tag == GUMBO_TAG_PRE) --preformatted_;
    if (tag == GUMBO_TAG_H1 && heading_.empty()) {
      heading_ = CleanTitle(writer_.written_since(heading_begin_));
    }
    if (tag == GUMBO_TAG_OL || tag == GUMBO_TAG_UL) lists_.pop_back();
    if (tag == GUMBO_TAG_LI) writer_.DropMark();
    if (tag == GUMBO_TAG_TABLE) tables_.pop_back();
    if (tag == GUMBO_TAG_TR && InDataTable()) writer_.EndRow();
    BreakFor(tag);
  }

  HtmlText Take() {
    return {title_.empty() ? std::move(heading_) : std::move(title_), writer_.Take()};
  }

 private:
  static constexpr int64_t kMaxListStart = 1'000'000'000;

  struct List {
    bool ordered;
    int64_t next;
  };

  bool InDataTable() const { return !tables_.empty() && tables_.back(); }

  void BreakFor(GumboTag tag) {
    if (IsCell(tag) && InDataTable()) return;
    const Layout layout = LayoutOf(tag);
    if (layout == Layout::kBlock) writer_.Break(2);
    if (layout == Layout::kLine) writer_.Break(1);
  }

  bool EnterElement(const GumboNode* node) {
    const GumboElement& element = node->v.element;
    if (element.tag_namespace == GUMBO_NAMESPACE_SVG || LayoutOf(element.tag) == Layout::kSkip ||
        IsHidden(element)) {
      return false;
    }
    if (element.tag == GUMBO_TAG_TITLE) {
      if (title_.empty()) title_ = TextOf(node);
      return false;
    }
    BreakFor(element.tag);
    EnterTag(node);
    return true;
  }

  void EnterTag(const GumboNode* node) {
    const GumboElement& element = node->v.element;
    switch (element.tag) {
      case GUMBO_TAG_BR: writer_.AddLineBreak(); break;
      case GUMBO_TAG_PRE: ++preformatted_; break;
      case GUMBO_TAG_H1: heading_begin_ = writer_.size(); break;
      case GUMBO_TAG_UL: lists_.push_back({false, 1}); break;
      case GUMBO_TAG_OL: {
        const GumboAttribute* start = gumbo_get_attribute(&element.attributes, "start");
        const int64_t first = start == nullptr ? 1 : std::strtol(start->value, nullptr, 10);
        lists_.push_back({true, std::clamp<int64_t>(first, -kMaxListStart, kMaxListStart)});
        break;
      }
      case GUMBO_TAG_LI:
        writer_.SetMark(!lists_.empty() && lists_.back().ordered
                            ? std::to_string(lists_.back().next++) + ". "
                            : "- ");
        break;
      case GUMBO_TAG_TABLE: tables_.push_back(IsDataTable(node)); break;
      case GUMBO_TAG_TR:
        if (InDataTable()) writer_.BeginRow();
        break;
      case GUMBO_TAG_TD:
      case GUMBO_TAG_TH:
        if (InDataTable()) writer_.BeginCell();
        break;
      default: break;
    }
  }

  static std::string TextOf(const GumboNode* element) {
    std::string text;
    const GumboVector& children = element->v.element.children;
    for (unsigned i = 0; i < children.length; ++i) {
      const auto* child = static_cast<const GumboNode*>(children.data[i]);
      if (child->type == GUMBO_NODE_TEXT || child->type == GUMBO_NODE_WHITESPACE) {
        text += child->v.text.text;
      }
    }
    return CleanTitle(text);
  }

  TextWriter writer_;
  std::string title_;
  std::string heading_;
  size_t heading_begin_ = 0;
  int preformatted_ = 0;
  std::vector<List> lists_;
  std::vector<bool> tables_;  // the open ones; whether they hold data
};

}  // namespace

Result<HtmlText> ExtractHtml(std::string_view html_utf8) {
  MSA_ASSIGN_OR_RETURN(const HtmlTree tree, HtmlTree::Parse(html_utf8));
  Extractor extractor;
  Walk(
      tree.root(), [&](const GumboNode* node) { return extractor.Enter(node); },
      [&](const GumboNode* node) { extractor.Leave(node); });
  return extractor.Take();
}

}  // namespace msa
