// Filters: the one set of passages that every head ranks within, against the plain way, and that
// nothing outside of it counts.
#include <gmock/gmock.h>

#include <limits>
#include <map>
#include <random>
#include <set>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/passage_set.h"

namespace msa {
namespace {

using ::testing::IsNull;
using ::testing::NotNull;

TEST(PassageSet, BitsOfARunEqualContains) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    PassageSet set;
    // Within a block of the set, and across a border.
    const int64_t begin = seed % 2 == 0 ? 0 : 65000;
    for (int64_t p = begin; p < begin + 900; ++p) set.AddRange(p, random() % 3 == 0 ? 1 : 0);
    // Long stretches without gaps that begin anywhere, and beyond the set's end.
    std::vector<PassageId> passages;
    for (auto p = begin + static_cast<int64_t>(random() % 70); p < begin + 1100; ++p) {
      if (random() % 150 == 0) p += static_cast<int64_t>(random() % 5);
      passages.push_back(PassageId{p});
    }
    const std::vector<uint8_t> bits = set.BitsOf(passages);
    ASSERT_EQ(bits.size(), (passages.size() + 7) / 8);
    for (size_t p = 0; p < passages.size(); ++p) {
      EXPECT_EQ(((bits[p / 8] >> (p % 8)) & 1) != 0, set.Contains(passages[p].value)) << p;
    }
  }
  EXPECT_TRUE(PassageSet().BitsOf({}).empty());
}

TEST(PassageSet, EqualsASetOfNumbersHoweverLargeTheyAre) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    PassageSet set;
    std::set<int64_t> numbers;
    for (int range = 0; range < 12; ++range) {
      const int64_t first = (static_cast<int64_t>(random()) << (random() % 28)) % 100000000000;
      const auto count = static_cast<int64_t>(random() % 200);
      if (numbers.lower_bound(first) != numbers.lower_bound(first + count)) continue;
      set.AddRange(first, count);
      for (int64_t p = first; p < first + count; ++p) numbers.insert(p);
    }
    EXPECT_EQ(set.size(), std::ssize(numbers));
    EXPECT_LT(set.size_bytes(), 12 * 2 * 4200);
    std::vector<int64_t> members;
    for (const PassageId id : set.Members()) members.push_back(id.value);
    EXPECT_EQ(members, std::vector<int64_t>(numbers.begin(), numbers.end()));
    for (const int64_t member : members) {
      for (const int64_t p : {member - 1, member, member + 1, member + 32768}) {
        EXPECT_EQ(set.Contains(p), numbers.contains(p)) << p;
      }
      const int64_t end = member + static_cast<int64_t>(random() % 100000);
      EXPECT_EQ(set.CountRange(member - 70, end),
                std::distance(numbers.lower_bound(member - 70), numbers.lower_bound(end)));
    }
    EXPECT_FALSE(set.Contains(-1));
    EXPECT_EQ(set.CountRange(-5, std::numeric_limits<int64_t>::max()), set.size());
    EXPECT_EQ(set.CountRange(7, 7), 0);
  }
}

TEST(FilterCache, HoldsWhatFitsAndForgetsTheOldest) {
  FilterCache cache;
  const auto key = [](int64_t revision) {
    return FilterCache::Key{1, RevisionId{revision}, {{"a", "b"}}};
  };
  for (int64_t revision = 0; revision < 9; ++revision) {
    auto passages = std::make_shared<VisiblePassages>();
    passages->kept.AddRange(0, int64_t{1} << 26);  // 8 MiB
    cache.Insert(key(revision), passages);
    EXPECT_THAT(cache.Find(key(0)), NotNull()) << "used all the time";
  }
  EXPECT_THAT(cache.Find(key(1)), IsNull()) << "unused for longest";
  EXPECT_THAT(cache.Find(key(8)), NotNull());
  auto other = key(8);
  other.commit_number = 2;
  EXPECT_THAT(cache.Find(other), IsNull());
  cache.Clear();
  EXPECT_THAT(cache.Find(key(8)), IsNull());
}

const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};

std::unique_ptr<Bank> MakeBank(const std::string& path, bool encrypt = false) {
  auto bank = Bank::Create(path, {.encrypt = encrypt});
  MSA_CHECK(bank.ok());
  return *std::move(bank);
}

// Gives latents to the first passage of each document; `passages` counts them.
void EncodeFirstPassages(Bank& bank, BankWriter& writer) {
  const auto encoding = writer.OpenEncoding({{}, "feed", "{}", kLayout});
  ASSERT_OK(encoding);
  const auto missing = (*bank.Latest())->FindUnencoded(*encoding);
  ASSERT_OK(missing);
  for (const auto& m : *missing) {
    if (m.first_passage > 0) continue;
    ASSERT_OK(writer.AddLatents(*encoding, m.version, 0, MakeLatents(kLayout, {1}, 1)));
  }
  ASSERT_OK(writer.CommitLatents());
}

// A bank with a random history, and what it was given.
class FilteredHistory {
 public:
  FilteredHistory(unsigned seed, const std::string& folder, bool encrypt)
      : random_(seed), folder_(folder), bank_(MakeBank(folder + "/bank", encrypt)) {}

  void Run() {
    auto writer = bank_->StartWrite();
    ASSERT_OK(writer);
    writer_ = *std::move(writer);
    for (int step = 0; step < 25; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      ASSERT_NO_FATAL_FAILURE(Change());
      for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(ExpectPlain(1 + Random(revisions())));
    }
    ASSERT_NO_FATAL_FAILURE(EncodeFirstPassages(*bank_, *writer_));
    for (const LabelFilter& filter : kFilters) {
      ASSERT_NO_FATAL_FAILURE(ExpectAsIfNothingElseWereThere(filter));
    }
  }

 private:
  inline static const std::vector<LabelFilter> kFilters = {
      {{"tenant", "0"}},   {{"tenant", "1"}, {"year", "2"}},         {{"year", "1"}},
      {{"title", "word"}}, {{"path", "/tmp/key3"}, {"tenant", "0"}}, {{"tenant", "nobody"}}};

  int64_t Random(int64_t n) { return static_cast<int64_t>(random_() % static_cast<unsigned>(n)); }
  int64_t revisions() { return (*bank_->Latest())->revision().value; }
  std::string RandomWords() {
    std::string words;
    for (int64_t i = 0; i < 3 + Random(8); ++i) words += 'w' + std::to_string(Random(9)) + "w ";
    return words;
  }

  void Change() {
    const int64_t choice = Random(10);
    if (choice < 2 && revisions() > 0) {
      ASSERT_OK(writer_->Revert(RevisionId{1 + Random(revisions())}, "back"));
    } else if (choice == 2 && !newest_.empty()) {
      const std::string key = newest_.begin()->first;
      ASSERT_OK(writer_->Erase({.documents = {key}, .where = {}}, "erase"));
      newest_.erase(key);
      erased_.insert(key);
    } else if (choice == 3) {
      ASSERT_OK(writer_->Compact(Retention{.text_days = 0, .latents_days = 0}));
    } else {
      for (int i = 0; i < 4; ++i) ASSERT_NO_FATAL_FAILURE(AddOrRemove());
      ASSERT_OK(writer_->Commit("change"));
    }
  }

  void AddOrRemove() {
    const std::string key = "key" + std::to_string(Random(12));
    if (erased_.contains(key)) return;
    if (Random(5) == 0) {
      ASSERT_OK(writer_->Remove(key));
      return;
    }
    NewDocument document =
        MakeDocument(key, Random(3) == 0 ? "word" : "other", RandomWords(), 1 + Random(3));
    document.labels = {{"tenant", std::to_string(Random(3))}, {"year", std::to_string(Random(3))}};
    const auto outcome = writer_->Add(document);
    ASSERT_OK(outcome);
    // After going back the visible version may be an older one.
    if (*outcome != AddOutcome::kUnchanged) newest_[key] = document.labels;
  }

  // Whether a document of a revision matches: own fields as they were then, labels of today.
  bool Matches(const DocumentInfo& then, const LabelFilter& filter) {
    const auto today = (*bank_->Latest())->FindDocument(then.key);
    // A name that is no key may be part of another one.
    const bool is_there = today.ok() && today->key == then.key;
    const auto& labels = is_there ? today->labels : newest_.at(then.key);
    for (const auto& [name, value] : filter) {
      if (name == "title" && then.title != value) return false;
      if (name == "path" && then.source_path != value) return false;
      if (name == "title" || name == "path") continue;
      const auto label = labels.find(name);
      if (label == labels.end() || label->second != value) return false;
    }
    return true;
  }

  void ExpectPlain(int64_t revision) {
    if (revision > revisions()) return;
    SCOPED_TRACE("revision " + std::to_string(revision));
    const auto snapshot = bank_->At(RevisionId{revision});
    ASSERT_OK(snapshot);
    for (const LabelFilter& filter : kFilters) {
      std::set<int64_t> expected;
      int64_t unkept = 0;
      ASSERT_OK((*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
        if (!Matches(info, filter)) return true;
        if (!info.text_kept) {
          unkept += info.num_passages;
          return true;
        }
        const auto content = (*snapshot)->ReadContent(info.version);
        EXPECT_TRUE(content.ok()) << content.status();
        for (const PassageInfo& passage : content->passages) expected.insert(passage.id.value);
        return true;
      }));
      const auto first = (*snapshot)->MatchingPassages(filter);
      ASSERT_OK(first);
      const auto again = (*bank_->At(RevisionId{revision}))->MatchingPassages(filter);
      ASSERT_OK(again);
      EXPECT_EQ(*again, *first) << "kept for the next snapshot of the revision";
      EXPECT_EQ((*first)->num_unkept, unkept);
      EXPECT_EQ((*first)->kept.size(), std::ssize(expected));
      for (const int64_t p : expected) EXPECT_TRUE((*first)->kept.Contains(p)) << p;
    }
  }

  // Hits and scores, and counts, are those of a bank that holds the matching documents alone.
  void ExpectAsIfNothingElseWereThere(const LabelFilter& filter) {
    const std::string path = folder_ + "/only";
    std::filesystem::remove_all(path);
    const auto only = MakeBank(path);
    const auto snapshot = *bank_->Latest();
    {
      auto writer = only->StartWrite();
      ASSERT_OK(writer);
      ASSERT_OK(snapshot->ForEachDocument(filter, [&](const DocumentInfo& info) {
        if (!info.text_kept) return true;  // of a revision that somebody went back to
        const auto content = snapshot->ReadContent(info.version);
        NewDocument document =
            MakeDocument(info.key, info.title, content->text, std::ssize(content->passages));
        document.labels = info.labels;
        EXPECT_TRUE((*writer)->Add(document).ok());
        return true;
      }));
      ASSERT_OK((*writer)->Commit("only"));
      ASSERT_NO_FATAL_FAILURE(EncodeFirstPassages(*only, **writer));
    }
    const auto of_only = *only->Latest();
    for (int i = 0; i < 5; ++i) {
      const std::string question = RandomWords();
      const auto found = snapshot->SearchLexical(question, 50, filter);
      ASSERT_OK(found);
      const auto expected = of_only->SearchLexical(question, 50, {});
      ASSERT_OK(expected);
      ASSERT_EQ(found->size(), expected->size());
      for (size_t h = 0; h < found->size(); ++h) {
        EXPECT_FLOAT_EQ((*found)[h].score, (*expected)[h].score);
      }
    }
    const auto counted = snapshot->Encodings(filter);
    ASSERT_OK(counted);
    const auto counted_only = of_only->Encodings();
    ASSERT_OK(counted_only);
    EXPECT_EQ(counted->back().encoded_passages, counted_only->back().encoded_passages);
    EXPECT_EQ(counted->back().latents, counted_only->back().latents);
  }

  std::mt19937 random_;
  const std::string folder_;
  const std::unique_ptr<Bank> bank_;
  std::unique_ptr<BankWriter> writer_;
  std::map<std::string, std::map<std::string, std::string>> newest_;  // labels
  std::set<std::string> erased_;
};

TEST(Filters, EqualThePlainWayInEveryRevision) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TemporaryFolder folder;
    const KeysIn keys(folder);
    FilteredHistory history(seed, folder / "", seed % 2 == 0);
    ASSERT_NO_FATAL_FAILURE(history.Run());
  }
}

}  // namespace
}  // namespace msa
