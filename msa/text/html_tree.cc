#include "msa/text/html_tree.h"

#include <chrono>
#include <csetjmp>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace msa {

// All memory of one tree, freed at once: freeing it node by node through gumbo would cost time
// again, and gumbo has no other way to be stopped than its allocator not returning.
class HtmlTree::Arena {
 public:
  explicit Arena(const HtmlLimits& limits)
      : limits_(limits),
        deadline_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                     std::chrono::duration<double>(limits.seconds))) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    for (void* block : blocks_) std::free(block);
  }

  // The tree, or null if a limit was passed: then `reason()` says which.
  const GumboNode* Parse(std::string_view html) {
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = [](void* arena, size_t size) {
      return static_cast<Arena*>(arena)->Allocate(size);
    };
    options.deallocator = [](void*, void*) {};
    options.userdata = this;
    options.max_errors = 0;
    // Allocate() jumps here over gumbo's C frames only; no object with a destructor lives in
    // between.
    if (setjmp(stop_) != 0) return nullptr;
    return gumbo_parse_with_options(&options, html.data(), html.size())->root;
  }

  const char* reason() const { return reason_; }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kBlockBytes = size_t{1} << 20;
  static constexpr int kCallsPerClock = 64;

  void* Allocate(size_t size) {
    size = (size + 15) & ~size_t{15};
    if (++calls_ % kCallsPerClock == 0 && Clock::now() > deadline_) {
      Stop("nested too deeply: parsing takes too long");
    }
    if (size > kBlockBytes / 4) return NewBlock(size);  // on its own; the current block goes on
    if (size > left_) {
      next_ = NewBlock(kBlockBytes);
      left_ = kBlockBytes;
    }
    char* const result = next_;
    next_ += size;
    left_ -= size;
    return result;
  }

  char* NewBlock(size_t size) {
    total_ += static_cast<int64_t>(size);
    if (total_ > limits_.tree_bytes) Stop("its tree takes too much memory");
    void* const block = std::malloc(size);
    if (block == nullptr) Stop("out of memory");
    blocks_.push_back(block);
    return static_cast<char*>(block);
  }

  [[noreturn]] void Stop(const char* reason) {
    reason_ = reason;
    std::longjmp(stop_, 1);
  }

  const HtmlLimits limits_;
  const Clock::time_point deadline_;
  std::vector<void*> blocks_;
  char* next_ = nullptr;
  size_t left_ = 0;
  int64_t total_ = 0;
  int64_t calls_ = 0;
  const char* reason_ = "";
  std::jmp_buf stop_;
};

Result<HtmlTree> HtmlTree::Parse(std::string_view html, const HtmlLimits& limits) {
  HtmlTree tree(std::make_unique<Arena>(limits));
  tree.root_ = tree.arena_->Parse(html);
  if (tree.root_ == nullptr)
    return ResourceExhausted(std::string("HTML: ") + tree.arena_->reason());
  return tree;
}

HtmlTree::HtmlTree(std::unique_ptr<Arena> arena) : arena_(std::move(arena)) {}
HtmlTree::HtmlTree(HtmlTree&&) noexcept = default;
HtmlTree& HtmlTree::operator=(HtmlTree&&) noexcept = default;
HtmlTree::~HtmlTree() = default;

}  // namespace msa
