#include "msa/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "msa/base/check.h"

namespace msa {
namespace {

constexpr uint64_t kFree = ~uint64_t{0};
constexpr int32_t kNoMerge = std::numeric_limits<int32_t>::max();
constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

// Up to here scanning all ranks for the smallest beats a heap (words are 6 bytes on average, so the
// exact place matters little).
constexpr size_t kShortSymbols = 64;

uint64_t PairKey(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t HashPair(uint64_t pair) { return (pair * 0x9E3779B97F4A7C15) >> 32; }

}  // namespace

Bpe::Bpe(std::span<const std::string> token_bytes, std::span<const Merge> merges, bool whole_words,
         TokenId unknown) {
  std::ranges::fill(byte_ids_, unknown);
  for (size_t id = 0; id < token_bytes.size(); ++id) {
    if (token_bytes[id].size() == 1) {
      byte_ids_[static_cast<unsigned char>(token_bytes[id][0])] = static_cast<TokenId>(id);
    }
  }
  AddMerges(merges);
  // Which tokens their own bytes merge to is found once, here, so that Encode needs no cache that
  // threads would have to share. Some tokens cannot be reached: their last merge is never the next.
  std::vector<std::string> words(token_bytes.begin(), token_bytes.end());
  Workspace work;
  for (size_t id = 0; id < words.size() && !whole_words; ++id) {
    if (words[id].empty()) continue;
    MergeWord(words[id], &work);
    if (work.ids.size() != 1 || work.ids[0] != static_cast<TokenId>(id)) words[id].clear();
  }
  words_ = StringTable(words);
}

void Bpe::AddMerges(std::span<const Merge> merges) {
  MSA_CHECK(merges.size() < static_cast<size_t>(kNoMerge));
  merges_.assign(std::bit_ceil(2 * merges.size() + 2), {kFree, kNoMerge, -1});
  const size_t mask = merges_.size() - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const uint64_t pair = PairKey(merge.left, merge.right);
    size_t slot = HashPair(pair) & mask;
    while (merges_[slot].pair != kFree && merges_[slot].pair != pair) slot = (slot + 1) & mask;
    merges_[slot] = {pair, static_cast<int32_t>(rank), merge.merged};  // the last of equal ones
  }
}

const Bpe::MergeSlot* Bpe::FindMerge(TokenId left, TokenId right) const {
  const uint64_t pair = PairKey(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t slot = HashPair(pair) & mask; merges_[slot].pair != kFree; slot = (slot + 1) & mask) {
    if (merges_[slot].pair == pair) return &merges_[slot];
  }
  return nullptr;
}

int32_t Bpe::Rank(TokenId left, TokenId right) const {
  const MergeSlot* merge = FindMerge(left, right);
  return merge != nullptr ? merge->rank : kNoMerge;
}

void Bpe::Encode(std::string_view word, int64_t offset, Workspace* work, std::vector<TokenId>* ids,
                 std::vector<int64_t>* begin) const {
  if (const TokenId id = words_.Find(word); id >= 0) {
    ids->push_back(id);
    if (begin != nullptr) begin->push_back(offset);
    return;
  }
  MergeWord(word, work);
  ids->insert(ids->end(), work->ids.begin(), work->ids.end());
  if (begin == nullptr) return;
  for (const uint32_t b : work->begin) begin->push_back(offset + b);
}

void Bpe::MergeWord(std::string_view word, Workspace* work) const {
  MSA_CHECK(word.size() < kNone);
  work->ids.clear();
  work->begin.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    const TokenId id = byte_ids_[static_cast<unsigned char>(word[i])];
    if (id < 0) continue;
    work->ids.push_back(id);
    work->begin.push_back(static_cast<uint32_t>(i));
  }
  if (work->ids.size() <= kShortSymbols) {
    MergeShort(work);
  } else {
    MergeLong(work);
  }
}

void Bpe::MergeShort(Workspace* work) const {
  auto& [ids, begin, rank, next, previous, heap] = *work;
  rank.clear();
  for (size_t i = 0; i + 1 < ids.size(); ++i) rank.push_back(Rank(ids[i], ids[i + 1]));
  while (!rank.empty()) {
    const auto best = std::ranges::min_element(rank);
    if (*best == kNoMerge) return;
    const size_t i = static_cast<size_t>(best - rank.begin());
    ids[i] = FindMerge(ids[i], ids[i + 1])->merged;
    const auto gone = static_cast<ptrdiff_t>(i + 1);
    ids.erase(ids.begin() + gone);
    begin.erase(begin.begin() + gone);
    rank.erase(best);
    if (i > 0) rank[i - 1] = Rank(ids[i - 1], ids[i]);
    if (i < rank.size()) rank[i] = Rank(ids[i], ids[i + 1]);
  }
}

// Symbols in a doubly linked list, pairs in a heap of rank << 32 | position. An entry whose pair
// has changed is recognised when it comes up, by its rank: a pair at one position only ever grows,
// so it never has an earlier rank again.
void Bpe::MergeLong(Workspace* work) const {
  auto& [ids, begin, rank, next, previous, heap] = *work;
  const auto count = static_cast<uint32_t>(ids.size());
  next.resize(count);
  previous.resize(count);
  heap.clear();
  const auto add_pair = [&](uint32_t i) {
    const int32_t r = Rank(ids[i], ids[next[i]]);
    if (r != kNoMerge) heap.push_back(static_cast<uint64_t>(r) << 32 | i);
    return r != kNoMerge;
  };
  for (uint32_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == count ? kNone : i + 1;
    if (next[i] != kNone) add_pair(i);
  }
  std::ranges::make_heap(heap, std::greater());
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, std::greater());
    const auto i = static_cast<uint32_t>(heap.back());
    const auto r = static_cast<int32_t>(heap.back() >> 32);
    heap.pop_back();
    if (ids[i] < 0 || next[i] == kNone) continue;
    const uint32_t gone = next[i];
    const MergeSlot* merge = FindMerge(ids[i], ids[gone]);
    if (merge == nullptr || merge->rank != r) continue;
    ids[i] = merge->merged;
    ids[gone] = -1;
    next[i] = next[gone];
    if (next[i] != kNone) {
      previous[next[i]] = i;
      if (add_pair(i)) std::ranges::push_heap(heap, std::greater());
    }
    if (previous[i] != kNone && add_pair(previous[i])) {
      std::ranges::push_heap(heap, std::greater());
    }
  }
  size_t size = 0;
  for (uint32_t i = 0; i != kNone && i < count; i = next[i]) {
    ids[size] = ids[i];
    begin[size++] = begin[i];
  }
  ids.resize(size);
  begin.resize(size);
}

}  // namespace msa
