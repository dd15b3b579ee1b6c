#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/blocks.h"
#include "msa/bank/lexical_search.h"
#include "msa/bank/lexical_text.h"
#include "msa/bank/lexical_writer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Passage {
  std::string title;
  std::string text;
};

class LexicalTest : public testing::Test {
 protected:
  // Shards of `passages`, cut at `borders`.
  std::vector<std::shared_ptr<LexicalShard>> Build(const std::vector<Passage>& passages,
                                                   const std::vector<size_t>& borders = {}) {
    std::vector<std::shared_ptr<LexicalShard>> shards;
    std::unique_ptr<LexicalShardBuilder> builder;
    const auto finish = [&] {
      shards.push_back(Open(builder->Finish().value()));
      builder.reset();
    };
    for (size_t i = 0; i < passages.size(); ++i) {
      const PassageId id{static_cast<int64_t>(i)};
      if (builder == nullptr) builder = LexicalShardBuilder::Create(id).value();
      EXPECT_TRUE(builder->Add(id, passages[i].title, passages[i].text).ok());
      if (std::ranges::count(borders, i + 1) > 0) finish();
    }
    if (builder != nullptr) finish();
    return shards;
  }

  std::shared_ptr<LexicalShard> Open(const std::vector<std::byte>& image) {
    const std::string path = folder_ / std::to_string(num_shards_++);
    EXPECT_TRUE(WriteFileAtomically(PosixFileSystem(), path, AsChars(image)).ok());
    return LexicalShard::Open(path, static_cast<int64_t>(image.size()), BlockChecksums(image))
        .value();
  }

  std::vector<int64_t> Search(const std::vector<Passage>& passages, std::string_view question) {
    PassageSet all;
    all.AddRange(0, static_cast<int64_t>(passages.size()));
    std::vector<int64_t> ids;
    const auto hits = SearchShards(Build(passages), all, question, 100, {});
    EXPECT_TRUE(hits.ok()) << hits.status();
    for (const LexicalHit& hit : *hits) ids.push_back(hit.passage.value);
    return ids;
  }

  TemporaryFolder folder_;
  int num_shards_ = 0;
};

// BM25 in plain loops over words that no stemmer changes.
std::vector<LexicalHit> PlainBm25(const std::vector<Passage>& passages,
                                  const std::set<int64_t>& visible, std::string_view question,
                                  size_t k) {
  std::map<int64_t, std::map<std::string, int>> counts;
  std::map<std::string, int> frequency;
  double tokens = 0;
  std::map<int64_t, double> lengths;
  for (const int64_t p : visible) {
    const Passage& passage = passages[static_cast<size_t>(p)];
    std::istringstream in(passage.title + " " + passage.text);
    for (std::string word; in >> word;) {
      frequency[word] += counts[p][word]++ == 0;
      lengths[p] += 1;
      tokens += 1;
    }
  }
  const auto n = static_cast<double>(visible.size());
  std::set<std::string> terms;
  std::istringstream in{std::string(question)};
  for (std::string word; in >> word;) terms.insert(word);
  std::vector<LexicalHit> hits;
  for (const int64_t p : visible) {
    double score = 0;
    for (const std::string& term : terms) {
      const int tf = counts[p].contains(term) ? counts[p][term] : 0;
      if (tf == 0) continue;
      const double idf = std::log1p((n - frequency[term] + 0.5) / (frequency[term] + 0.5));
      score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * lengths[p] / (tokens / n)));
    }
    if (score > 0) hits.push_back({PassageId{p}, static_cast<float>(score)});
  }
  std::ranges::stable_sort(hits, [](const auto& a, const auto& b) { return a.score > b.score; });
  hits.resize(std::min(hits.size(), k));
  return hits;
}

// Words "q0q" … with a skewed distribution; Porter leaves them alone.
std::vector<Passage> RandomPassages(std::mt19937& random, int count) {
  const auto word = [&] {
    const auto r = std::uniform_real_distribution(0.0, 1.0)(random);
    return "q" + std::to_string(static_cast<int>(60 * r * r)) + "q";
  };
  std::vector<Passage> passages;
  for (int i = 0; i < count; ++i) {
    Passage& p = passages.emplace_back();
    p.title = word();
    for (unsigned j = 0; j < 1 + random() % 30; ++j) p.text += word() + " ";
  }
  return passages;
}

void ExpectSameHits(const std::vector<LexicalHit>& found, const std::vector<LexicalHit>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].score, expected[i].score, 1e-4 * expected[i].score) << i;
    // Sums in another order may swap near ties; equal neighbours go to the smaller id.
    if (i > 0 && found[i].score == found[i - 1].score) {
      EXPECT_LT(found[i - 1].passage, found[i].passage);
    }
  }
}

TEST_F(LexicalTest, EqualsPlainBm25HoweverShardsAreCut) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto passages = RandomPassages(random, 200);
    const auto one = Build(passages);
    const auto many = Build(passages, {1, 17, 90, 91});
    PassageSet all;
    all.AddRange(0, 200);
    std::set<int64_t> visible;
    for (int64_t p = 0; p < 200; ++p) visible.insert(p);
    for (const char* question : {"q1q q3q q3q q59q", "q0q", "q40q q41q nothing", "nothing"}) {
      const auto expected = PlainBm25(passages, visible, question, 20);
      const auto a = SearchShards(one, all, question, 20, {});
      const auto b = SearchShards(many, all, question, 20, {});
      ASSERT_OK(a);
      ASSERT_OK(b);
      ExpectSameHits(*a, expected);
      ASSERT_EQ(a->size(), b->size());
      for (size_t i = 0; i < a->size(); ++i) {
        EXPECT_EQ((*a)[i].passage, (*b)[i].passage);
        EXPECT_EQ((*a)[i].score, (*b)[i].score);
      }
    }
  }
}

TEST_F(LexicalTest, FilteredStatisticsCountVisiblePassagesAlone) {
  std::mt19937 random(3);
  const auto passages = RandomPassages(random, 150);
  const auto shards = Build(passages, {40, 100});
  PassageSet some;
  std::set<int64_t> visible;
  for (int64_t p = 5; p < 150; p += 3) {
    some.AddRange(p, 1);
    visible.insert(p);
  }
  const auto found = SearchShards(shards, some, "q1q q7q q30q", 50, {.exact_statistics = true});
  ASSERT_OK(found);
  ExpectSameHits(*found, PlainBm25(passages, visible, "q1q q7q q30q", 50));
}

TEST_F(LexicalTest, CandidatesOfRarerTermsAreScoredByAllTerms) {
  std::mt19937 random(4);
  const auto passages = RandomPassages(random, 300);
  const auto shards = Build(passages);
  PassageSet all;
  all.AddRange(0, 300);
  const char* question = "q0q q1q q2q q50q";
  const auto every = SearchShards(shards, all, question, 300, {}).value();
  const auto few = SearchShards(shards, all, question, 300, {.candidate_postings = 1}).value();
  ASSERT_FALSE(few.empty());
  EXPECT_LT(few.size(), every.size());
  for (const LexicalHit& hit : few) {
    EXPECT_EQ(hit.score, std::ranges::find(every, hit.passage, &LexicalHit::passage)->score);
  }
}

TEST_F(LexicalTest, AnyQuestionIsOnlyWords) {
  const std::vector<Passage> passages = {{"", "NEAR the \"quoted\" AND (column: x*) text"}};
  for (const char* question :
       {"\"", "\"unbalanced", "NEAR(", "a AND", "x*", "col:um", "-", "^", "( ) OR NOT AND", "'; --",
        "{a b}: c", "\xff\xfe", "text\"\"", "+ +", "\\"}) {
    EXPECT_TRUE(TokenizeQuestion(question).ok()) << question;
    Search(passages, question);
  }
  EXPECT_THAT(Search(passages, "AND"), ElementsAre(0));
  EXPECT_THAT(Search(passages, "NOT"), IsEmpty());
  EXPECT_THAT(Search(passages, std::string_view("quoted\0tail", 11)), ElementsAre(0));
}

TEST_F(LexicalTest, WordsMatchByStemWithoutCaseAndAccents) {
  const std::vector<Passage> passages = {{"", "The engines were running"}, {"", "Café crème"}};
  EXPECT_THAT(Search(passages, "engine RUN"), ElementsAre(0));
  EXPECT_THAT(Search(passages, "cafe"), ElementsAre(1));
}

TEST_F(LexicalTest, ScriptsWithoutSpacesMatchByPairs) {
  const std::vector<Passage> passages = {{"", "東京都は日本の首都です。"},
                                         {"", "ภาษาไทยเป็นภาษาราชการ"},
                                         {"", "水は大切 water"},
                                         {"", "हिन्दी भाषा"},
                                         {"", "京都は古い"}};
  EXPECT_THAT(Search(passages, "日本"), ElementsAre(0));
  EXPECT_THAT(Search(passages, "首都"), ElementsAre(0));
  EXPECT_THAT(Search(passages, "京都"), testing::UnorderedElementsAre(0, 4));
  EXPECT_THAT(Search(passages, "ราชการ"), ElementsAre(1));
  EXPECT_THAT(Search(passages, "水"), ElementsAre(2)) << "one character alone";
  EXPECT_THAT(Search(passages, "भाषा"), ElementsAre(3));
  EXPECT_THAT(Search(passages, "本日"), IsEmpty());
}

TEST_F(LexicalTest, FlippedByteIsAnErrorOrHarmless) {
  std::mt19937 random(9);
  const auto passages = RandomPassages(random, 400);
  Build(passages);
  const std::string image = ReadFile(folder_ / "0").value();
  const auto blocks = BlockChecksums(AsBytes(image));
  PassageSet all;
  all.AddRange(0, 400);
  for (size_t i = 0; i < 40; ++i) {
    std::string damaged = image;
    damaged[random() % damaged.size()] ^= 1;
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), folder_ / "damaged", damaged));
    const auto shard =
        LexicalShard::Open(folder_ / "damaged", static_cast<int64_t>(image.size()), blocks);
    if (!shard.ok()) {
      EXPECT_EQ(shard.status().code(), StatusCode::kDataLoss) << shard.status();
      continue;
    }
    const auto hits = SearchShards(std::vector{*shard}, all, "q1q q2q q3q", 10, {});
    if (!hits.ok()) {
      EXPECT_EQ(hits.status().code(), StatusCode::kDataLoss) << hits.status();
    }
  }
}

// An image of `passages` but those `without`.
std::vector<std::byte> ImageOf(const std::vector<Passage>& passages,
                               const std::set<int64_t>& without = {}) {
  const auto builder = LexicalShardBuilder::Create(PassageId{0}).value();
  for (size_t i = 0; i < passages.size(); ++i) {
    const PassageId id{static_cast<int64_t>(i)};
    if (without.contains(id.value)) continue;
    EXPECT_TRUE(builder->Add(id, passages[i].title, passages[i].text).ok());
  }
  return builder->Finish().value();
}

TEST_F(LexicalTest, RemovingEqualsNeverHavingAdded) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    auto passages = RandomPassages(random, 300);
    for (size_t i = 0; i < passages.size(); ++i) {
      passages[i].text.append(" every only").append(std::to_string(i)).append("zz");
    }
    std::set<int64_t> removed = {299};  // the last one, too
    for (unsigned i = 0; i < 1 + random() % 40; ++i) removed.insert(random() % 300);

    const auto builder = LexicalShardBuilder::Reopen(ImageOf(passages)).value();
    for (const int64_t p : removed) {
      const Passage& passage = passages[static_cast<size_t>(p)];
      ASSERT_OK(builder->Remove(PassageId{p}, passage.title, passage.text));
    }
    const std::vector<std::byte> image = builder->Finish().value();
    EXPECT_EQ(builder->passages(), 300 - static_cast<int64_t>(removed.size()));
    for (const int64_t p : removed) {
      EXPECT_EQ(AsChars(image).find("only" + std::to_string(p) + "zz"), std::string_view::npos);
    }

    const auto edited = Open(image);
    const auto rebuilt = Open(ImageOf(passages, removed));
    PassageSet visible;
    for (int64_t p = 0; p < 300; ++p) visible.AddRange(p, removed.contains(p) ? 0 : 1);
    EXPECT_EQ(edited->CountVisible(visible).tokens, rebuilt->CountVisible(visible).tokens);
    std::string question = "every";
    for (int word = 0; word < 60; ++word) {
      const std::string text = 'q' + std::to_string(word) + 'q';
      question += ' ' + text;
      const QuestionTerm term{text, text};
      EXPECT_EQ(edited->PassagesWith(term).value(), rebuilt->PassagesWith(term).value()) << text;
    }
    const auto a = SearchShards(std::vector{edited}, visible, question, 300, {}).value();
    const auto b = SearchShards(std::vector{rebuilt}, visible, question, 300, {}).value();
    ASSERT_EQ(a.size(), 300 - removed.size());
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].passage, b[i].passage);
      EXPECT_EQ(a[i].score, b[i].score);
      EXPECT_FALSE(removed.contains(a[i].passage.value));
    }
  }
}

TEST_F(LexicalTest, RemovingOtherWordsThanWereAddedIsRefused) {
  std::mt19937 random(7);
  auto passages = RandomPassages(random, 50);
  passages[20].text += " secret";
  const auto builder = LexicalShardBuilder::Reopen(ImageOf(passages)).value();
  ASSERT_OK(builder->Remove(PassageId{20}, passages[20].title, "anything else"));
  EXPECT_EQ(builder->Finish().status().code(), StatusCode::kDataLoss);
}

TEST_F(LexicalTest, RemovingWhatIsNotThereIsRefused) {
  std::mt19937 random(7);
  const auto passages = RandomPassages(random, 50);
  const auto builder = LexicalShardBuilder::Reopen(ImageOf(passages)).value();
  ASSERT_OK(builder->Remove(PassageId{20}, passages[20].title, passages[20].text));
  for (const int64_t p : {20, 50, -1}) {
    EXPECT_EQ(builder->Remove(PassageId{p}, "", "").code(), StatusCode::kDataLoss) << p;
  }
}

TEST(LexicalText, OtherTextPassesUnchanged) {
  std::string out;
  AppendForIndex("plain, text: naïve – Привет", &out);
  EXPECT_EQ(out, "plain, text: naïve – Привет");
  EXPECT_EQ(PrepareQuestion("a東京b"), "a 東京 b");
}

TEST(ChooseMerge, KeepsNumberOfShardsLogarithmic) {
  std::vector<int64_t> shards;
  int64_t rewritten = 0;
  int64_t added = 0;
  constexpr int64_t kCommitBytes = 40 << 10;
  size_t most = 0;
  for (int commit = 0; commit < 20000; ++commit) {
    shards.push_back(kCommitBytes);
    added += kCommitBytes;
    while (true) {
      const MergeChoice choice = ChooseMerge(shards);
      if (choice.begin == choice.end) break;
      ASSERT_GE(choice.end - choice.begin, 2u);
      int64_t bytes = 0;
      for (size_t i = choice.begin; i < choice.end; ++i) bytes += shards[i];
      shards.erase(shards.begin() + static_cast<ptrdiff_t>(choice.begin + 1),
                   shards.begin() + static_cast<ptrdiff_t>(choice.end));
      shards[choice.begin] = bytes;
      rewritten += bytes;
    }
    most = std::max(most, shards.size());
  }
  EXPECT_LE(rewritten, 3 * added) << "a passage is indexed again once a tier";
  EXPECT_LE(most, static_cast<size_t>(added / (16 << 20)) + 3 * 7);
}

}  // namespace
}  // namespace msa
