#include "msa/text/string_table.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

namespace msa {
namespace {

TEST(StringTable, FindsEveryStringByItsNumber) {
  constexpr uint32_t kSeed = 3;
  std::mt19937 rng(kSeed);
  std::vector<std::string> strings;
  std::unordered_map<std::string, int32_t> first;
  for (int32_t i = 0; i < 5000; ++i) {
    std::string s(rng() % 20, '\0');
    for (char& c : s) c = static_cast<char>(rng() % 3);  // many share prefixes, some are equal
    first.emplace(s, i);
    strings.push_back(std::move(s));
  }
  const StringTable table(strings);
  ASSERT_EQ(table.size(), 5000);
  for (int32_t i = 0; i < table.size(); ++i) {
    const std::string& s = strings[static_cast<size_t>(i)];
    ASSERT_EQ(table[i], s);
    ASSERT_EQ(table.Find(s), s.empty() ? -1 : first[s]) << "seed " << kSeed << ", string " << i;
  }
}

TEST(StringTable, FindsNothingElse) {
  const std::vector<std::string> strings = {"a", "ab", "", "longer than eight bytes"};
  const StringTable table(strings);
  for (const char* absent :
       {"", "b", "aba", "longer than eight byte", "longer than eight bytes "}) {
    EXPECT_EQ(table.Find(absent), -1) << absent;
  }
  EXPECT_EQ(StringTable().Find("a"), -1);
  EXPECT_EQ(StringTable().size(), 0);
}

}  // namespace
}  // namespace msa
