#include "msa/text/jsonl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "msa/base/utf8.h"
#include "msa/text/test_support.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

std::string ErrorOf(std::string_view line) {
  const auto row = ParseJsonRow(line);
  return row.ok() ? "" : row.status().message();
}

TEST(ParseJsonRow, ReadsFieldsAndLabels) {
  const auto row = ParseJsonRow(
      R"({"id": "a1", "title": "T", "text": "x\ny \u8a18", "lang": "en", "n": 3, "meta": {"text": "inner", "id": "no"}, "tags": ["t"], "none": null})");
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->id, "a1");
  EXPECT_EQ(row->title, "T");
  EXPECT_EQ(row->text, "x\ny 記");
  EXPECT_THAT(row->labels, ElementsAre(Pair("lang", "en")));
  EXPECT_EQ(ParseJsonRow(R"({"text":"x","id":-12})")->id, "-12");
  EXPECT_EQ(ParseJsonRow(R"({"text":"x\u0000y"})")->text, "xy");
}

TEST(ParseJsonRow, SaysWhatIsWrong) {
  EXPECT_THAT(ErrorOf(R"({"text": "x)"), StartsWith("not JSON from byte "));
  EXPECT_THAT(ErrorOf("{\"text\": \"\xff\"}"), StartsWith("not JSON from byte "));
  EXPECT_THAT(ErrorOf(R"({"text": "x"} {})"), StartsWith("not JSON from byte "));
  for (const char* no_object : {"[1]", "\"x\"", "3", "null", "[]"}) {
    EXPECT_EQ(ErrorOf(no_object), "no JSON object");
  }
  EXPECT_EQ(ErrorOf(R"({"title": "x", "text": 3})"), "no string \"text\"");
  EXPECT_EQ(ErrorOf(R"({"text": " \n"})"), "empty: no text");
}

TEST(ParseJsonRow, DepthCostsNoStack) {
  const std::string deep(1 << 20, '[');
  EXPECT_THAT(ErrorOf("{\"a\": " + deep), StartsWith("not JSON"));
  EXPECT_TRUE(
      ParseJsonRow("{\"a\": " + deep + std::string(1 << 20, ']') + ", \"text\": \"x\"}").ok());
}

TEST(ParseJsonRow, AnyBytesGiveARowOrAReason) {
  const std::string good = R"({"id": "a1", "title": "T é", "text": "text \u8a18", "k": [1, {}]})";
  for (uint32_t seed = 0; seed < 5000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    const auto row = ParseJsonRow(bad);
    if (row.ok()) {
      ASSERT_TRUE(IsValidUtf8(row->text + row->id + row->title));
    } else {
      ASSERT_TRUE(IsValidUtf8(row.status().message()));
    }
  }
}

struct Seen {
  int64_t number;
  std::string bytes;
  std::string error;
};

std::vector<Seen> Read(const std::string& content, int64_t max_row_bytes) {
  const testing::TempFolder folder;
  auto input = Input::Open(folder.Write("rows", content));
  std::vector<Seen> seen;
  const Status status = ReadJsonl(&*input, max_row_bytes, [&](JsonLine line) {
    seen.push_back(
        {line.number, std::string(line.bytes), line.row.ok() ? "" : line.row.status().message()});
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  return seen;
}

TEST(ReadJsonl, CountsLinesAndGoesOnAfterABadOne) {
  const auto seen = Read("\xef\xbb\xbf{\"text\":\"a\"}\r\n\n  \nbad\n{\"text\":\"b\"}", 1000);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].bytes, "{\"text\":\"a\"}");
  EXPECT_EQ(seen[0].error, "");
  EXPECT_EQ(seen[1].number, 4);
  EXPECT_THAT(seen[1].error, HasSubstr("not JSON"));
  EXPECT_EQ(seen[2].number, 5);
  EXPECT_EQ(seen[2].error, "");
}

TEST(ReadJsonl, ALongRowFailsAlone) {
  // Far longer than what is read at once, in the middle and at the end of the file.
  const std::string big = "{\"text\":\"" + std::string(1 << 20, 'x') + "\"}";
  const auto seen = Read("{\"text\":\"a\"}\n" + big + "\n{\"text\":\"b\"}\n" + big, 1000);
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].error, "");
  EXPECT_EQ(seen[1].error, "longer than 1000 bytes");
  EXPECT_EQ(seen[2].error, "");
  EXPECT_EQ(seen[3].error, "longer than 1000 bytes");
}

TEST(ReadJsonl, RowsAreFoundWhereverReadsEnd) {
  for (uint32_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string content;
    std::vector<size_t> sizes;
    while (content.size() < 2'000'000) {
      sizes.push_back(1 + random() % 200'000);
      content += "{\"text\":\"" + std::string(sizes.back(), 'x') + "\"}\n";
    }
    const auto seen = Read(content, 1 << 20);
    ASSERT_EQ(seen.size(), sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) ASSERT_EQ(seen[i].bytes.size(), sizes[i] + 11);
  }
}

}  // namespace
}  // namespace msa
