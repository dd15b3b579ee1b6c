#include "msa/text/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace msa {
namespace {

using ::testing::ElementsAre;

// A vocabulary that is written as its merges are learned.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::map<std::string, TokenId> ids;
  std::vector<Bpe::Merge> merges;

  explicit Vocabulary(std::string_view bytes) {
    for (const char c : bytes) Add(std::string(1, c));
  }
  TokenId Add(const std::string& token) {
    const auto [it, added] = ids.emplace(token, static_cast<TokenId>(tokens.size()));
    if (added) tokens.push_back(token);
    return it->second;
  }
  void Merge(const std::string& left, const std::string& right) {
    merges.push_back({ids.at(left), ids.at(right), Add(left + right)});
  }
  Bpe Make(bool whole_words = false, TokenId unknown = -1) const {
    return Bpe(tokens, merges, whole_words, unknown);
  }
};

struct Encoded {
  std::vector<TokenId> ids;
  std::vector<int64_t> begin;
};

Encoded Encode(const Bpe& bpe, std::string_view word, int64_t offset = 0) {
  Bpe::Workspace work;
  Encoded out;
  bpe.Encode(word, offset, &work, &out.ids, &out.begin);
  return out;
}

// The definition, word by word: merge the best pair, again and again.
std::vector<TokenId> Reference(const Vocabulary& v, std::string_view word) {
  std::vector<TokenId> ids;
  for (const char c : word) ids.push_back(v.ids.at(std::string(1, c)));
  for (;;) {
    size_t best_rank = v.merges.size(), best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (v.merges[rank].left == ids[i] && v.merges[rank].right == ids[i + 1]) {
          best_rank = rank, best = i;
        }
      }
    }
    if (best_rank == v.merges.size()) return ids;
    ids[best] = v.merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, TheEarliestMergeGoesFirstWhereverItStands) {
  Vocabulary v("abc");
  v.Merge("b", "c");
  v.Merge("a", "b");
  EXPECT_THAT(Encode(v.Make(), "abc").ids, ElementsAre(v.ids["a"], v.ids["bc"]));
}

TEST(Bpe, OfEqualMergesTheLeftmostGoesFirst) {
  Vocabulary v("a");
  v.Merge("a", "a");
  EXPECT_THAT(Encode(v.Make(), "aaa").ids, ElementsAre(v.ids["aa"], v.ids["a"]));
}

TEST(Bpe, ATokenThatItsMergesCannotReachIsNotTaken) {
  Vocabulary v("abc");
  v.Merge("b", "c");
  v.Merge("a", "b");
  v.Merge("ab", "c");  // never: bc is merged before
  EXPECT_THAT(Encode(v.Make(), "abc").ids, ElementsAre(v.ids["a"], v.ids["bc"]));
  EXPECT_THAT(Encode(v.Make(/*whole_words=*/true), "abc").ids, ElementsAre(v.ids["abc"]));
}

TEST(Bpe, BytesWithoutATokenAreLeftOutAndTheirNeighboursMerge) {
  Vocabulary v("ab");
  v.Merge("a", "b");
  const Encoded out = Encode(v.Make(), "xaxb", 10);
  EXPECT_THAT(out.ids, ElementsAre(v.ids["ab"]));
  EXPECT_THAT(out.begin, ElementsAre(11));
}

TEST(Bpe, BytesWithoutATokenBecomeTheUnknownOneIfThereIsOne) {
  Vocabulary v("ab");
  v.Merge("a", "b");
  EXPECT_THAT(Encode(v.Make(false, 0), "xb").ids, ElementsAre(v.ids["ab"]));
  EXPECT_THAT(Encode(v.Make(false, 1), "xb").ids, ElementsAre(1, 1));
}

TEST(Bpe, EqualsTheDefinitionOnShortAndLongWordsAndSaysWhereTokensBegin) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 rng(seed);
    Vocabulary v("abcd");
    for (int i = 0; i < 30; ++i) {
      const std::string left = v.tokens[rng() % v.tokens.size()];
      const std::string right = v.tokens[rng() % v.tokens.size()];
      if (!v.ids.contains(left + right)) v.Merge(left, right);
    }
    const Bpe bpe = v.Make();
    for (const size_t length : {1, 2, 3, 10, 63, 64, 65, 66, 200}) {
      std::string word(length, ' ');
      for (char& c : word) c = "abcd"[rng() % (seed % 4 + 1)];
      const Encoded out = Encode(bpe, word, 5);
      ASSERT_EQ(out.ids, Reference(v, word)) << "seed " << seed << ", length " << length;
      int64_t at = 5;
      for (size_t i = 0; i < out.ids.size(); ++i) {
        ASSERT_EQ(out.begin[i], at);
        at += static_cast<int64_t>(v.tokens[static_cast<size_t>(out.ids[i])].size());
      }
      ASSERT_EQ(at, 5 + static_cast<int64_t>(length));
    }
  }
}

}  // namespace
}  // namespace msa
