#include "msa/eval/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <filesystem>
#include <set>

#include "msa/base/test_support.h"

namespace msa {
namespace {

std::string Compressed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

TEST(ReadEvalSet, ReadsAFolderPlainOrCompressed) {
  const TestFolder folder;
  const std::string docs = R"({"id": "d1", "title": "T", "text": "one"}
{"id": 2, "text": "two"}
)";
  folder.Write("docs.jsonl.zst",
               Compressed(docs) + Compressed("{\"id\": \"d3\", \"text\": \"x\"}\n"));
  folder.Write("queries.jsonl", R"({"id": "q1", "query": "first?", "answers": [" one ", ""]}
{"id": "q2", "query": "nothing relevant"}
)");
  folder.Write("qrels.jsonl", R"({"qid": "q1", "docid": 2, "rel": 2}
{"qid": "q1", "docid": "d1", "rel": 0}
)");
  const auto set = ReadEvalSet(folder.path() + "/");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->name, folder.path().substr(folder.path().rfind('/') + 1));
  ASSERT_EQ(set->documents.size(), 3u);
  EXPECT_EQ(set->documents[0].title, "T");
  EXPECT_EQ(set->documents[1].id, "2");
  ASSERT_EQ(set->questions.size(), 1u);
  EXPECT_THAT(set->questions[0].answers, testing::ElementsAre("one"));
  EXPECT_THAT(set->questions[0].relevant, testing::ElementsAre(testing::Pair("2", 2.0)));
}

TEST(ReadEvalSet, ReadsPairsAndJoinsEqualPassages) {
  const TestFolder folder;
  const std::string path =
      folder.Write("some.jsonl", R"({"query": "a?", "positive": "p", "answer": "x"}
{"query": "b?", "positive": "other", "answer": ""}
{"query": "c?", "positive": "p"}
)");
  const auto set = ReadEvalSet(path);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->name, "some");
  EXPECT_EQ(set->documents.size(), 2u);
  ASSERT_EQ(set->questions.size(), 3u);
  EXPECT_EQ(set->questions[0].relevant, set->questions[2].relevant);
  EXPECT_THAT(set->questions[0].answers, testing::ElementsAre("x"));
  EXPECT_TRUE(set->questions[1].answers.empty());
}

TEST(ReadEvalSet, NamesWhatIsMissingOrBroken) {
  const TestFolder folder;
  EXPECT_THAT(ReadEvalSet(folder.path()).status().message(), testing::HasSubstr("docs.jsonl"));
  EXPECT_EQ(ReadEvalSet(folder.File("absent")).status().code(), StatusCode::kNotFound);
  const std::string broken = folder.Write("broken.jsonl", "{\"query\": \"a\"}\nnot json\n");
  EXPECT_THAT(ReadEvalSet(broken).status().message(), testing::HasSubstr("broken.jsonl:2"));
  const std::string packed = Compressed(std::string(1000, '\n') + "{\"query\": 1}");
  const std::string cut = folder.Write("cut.jsonl.zst", packed.substr(0, packed.size() - 4));
  EXPECT_EQ(ReadEvalSet(cut).status().code(), StatusCode::kDataLoss);
}

TEST(SampleIndexes, DrawsWithoutRepetitionAndTheSameForASeed) {
  const auto drawn = SampleIndexes(1000, 50, 7);
  EXPECT_EQ(drawn.size(), 50u);
  EXPECT_EQ(std::set<int64_t>(drawn.begin(), drawn.end()).size(), 50u);
  EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
  EXPECT_EQ(drawn, SampleIndexes(1000, 50, 7));
  EXPECT_NE(drawn, SampleIndexes(1000, 50, 8));
  EXPECT_EQ(SampleIndexes(3, 5, 1), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(SampleIndexes(3, 0, 1).size(), 3u);
}

}  // namespace
}  // namespace msa
