#include "msa/bank/bank.h"

#include <gmock/gmock.h>

#include "msa/bank/bank_test_util.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Keys(const Snapshot& snapshot, const LabelFilter& filter = {}) {
  std::vector<std::string> keys;
  EXPECT_TRUE(snapshot
                  .ForEachDocument(filter,
                                   [&](const DocumentInfo& info) {
                                     keys.push_back(info.key);
                                     return true;
                                   })
                  .ok());
  return keys;
}

class BankTest : public testing::Test {
 protected:
  void SetUp() override {
    auto bank = Bank::Create(folder_ / "bank", {});
    ASSERT_OK(bank);
    bank_ = *std::move(bank);
  }
  std::shared_ptr<const Snapshot> Latest() {
    auto snapshot = bank_->Latest();
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    return *snapshot;
  }
  void Reopen() {
    bank_.reset();
    auto bank = Bank::Open(folder_ / "bank");
    ASSERT_OK(bank);
    bank_ = *std::move(bank);
  }

  TemporaryFolder folder_;
  std::unique_ptr<Bank> bank_;
};

TEST_F(BankTest, NewBankIsEmptyAtRevisionZero) {
  const auto snapshot = Latest();
  EXPECT_EQ(snapshot->revision().value, 0);
  EXPECT_THAT(Keys(*snapshot), ElementsAre());
  const auto hits = snapshot->SearchLexical("anything", 5, {});
  ASSERT_OK(hits);
  EXPECT_TRUE(hits->empty());
  EXPECT_EQ(bank_->options().passage_tokens, 256);
}

TEST_F(BankTest, AddedDocumentsComeBackWholeAfterReopening) {
  NewDocument document = MakeDocument("a.txt", "Title A", "one two three four five six", 2);
  document.labels = {{"tenant", "acme"}};
  document.page_begin = {0, 13};
  {
    auto writer = bank_->StartWrite();
    ASSERT_OK(writer);
    const auto outcome = (*writer)->Add(document);
    ASSERT_OK(outcome);
    EXPECT_EQ(*outcome, AddOutcome::kAdded);
    EXPECT_THAT(Keys(*Latest()), ElementsAre()) << "not before the commit";
    const auto revision = (*writer)->Commit("first");
    ASSERT_OK(revision);
    EXPECT_EQ(revision->value, 1);
  }
  Reopen();
  const auto snapshot = Latest();
  const auto info = snapshot->FindDocument("a.txt");
  ASSERT_OK(info);
  EXPECT_EQ(info->title, "Title A");
  EXPECT_EQ(info->labels, document.labels);
  EXPECT_EQ(info->source_path, document.source_path);
  EXPECT_EQ(info->source_sha256, document.source_sha256);
  EXPECT_EQ(info->source_bytes, document.source_bytes);
  EXPECT_EQ(info->media_type, document.media_type);
  EXPECT_EQ(info->num_passages, 2);
  EXPECT_EQ(info->born.value, 1);
  const auto content = snapshot->ReadContent(info->version);
  ASSERT_OK(content);
  EXPECT_EQ(content->text, document.text);
  EXPECT_EQ(content->page_begin, document.page_begin);
  ASSERT_EQ(content->passages.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(content->passages[i].begin, document.passages[i].begin);
    EXPECT_EQ(content->passages[i].end, document.passages[i].end);
    EXPECT_EQ(content->passages[i].page, document.passages[i].page);
    EXPECT_EQ(content->tokens[i], document.passages[i].tokens);
    const auto address = snapshot->FindPassage(content->passages[i].id);
    ASSERT_OK(address);
    EXPECT_EQ(address->version, info->version);
    EXPECT_EQ(address->index, static_cast<int64_t>(i));
  }
}

TEST_F(BankTest, SameDocumentIsUnchangedAndChangedOneReplaces) {
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "old words")));
  ASSERT_OK((*writer)->Add(MakeDocument("b", "B", "other words")));
  ASSERT_OK((*writer)->Commit("one"));
  const auto before = Latest();

  EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "A", "old words")), AddOutcome::kUnchanged);
  EXPECT_EQ((*writer)->Commit("nothing")->value, 1);
  EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "A", "new words")), AddOutcome::kReplaced);
  EXPECT_EQ((*writer)->Commit("two")->value, 2);

  const auto after = Latest();
  EXPECT_THAT(Keys(*after), ElementsAre("b", "a"));
  EXPECT_EQ(after->ReadContent(after->FindDocument("a")->version)->text, "new words");
  EXPECT_EQ(after->FindDocument("a")->id, before->FindDocument("a")->id);
  EXPECT_EQ(after->Stats()->documents, 2);
  EXPECT_THAT(Keys(*before), ElementsAre("a", "b")) << "an old snapshot never changes";
  EXPECT_EQ(before->ReadContent(before->FindDocument("a")->version)->text, "old words");
  EXPECT_EQ(before->SearchLexical("old", 5, {})->size(), 1u);
  EXPECT_EQ(before->SearchLexical("new", 5, {})->size(), 0u);
  EXPECT_EQ(after->SearchLexical("old", 5, {})->size(), 0u);
  EXPECT_EQ(after->SearchLexical("new", 5, {})->size(), 1u);
}

TEST_F(BankTest, DroppedWriterLeavesNothing) {
  {
    auto writer = bank_->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "words")));
  }
  EXPECT_THAT(Keys(*Latest()), ElementsAre());
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Add(MakeDocument("b", "B", "words")));
  ASSERT_OK((*writer)->Commit("b"));
  EXPECT_THAT(Keys(*Latest()), ElementsAre("b"));
}

TEST_F(BankTest, SecondWriterIsToldWhoHoldsTheBank) {
  auto first = bank_->StartWrite();
  ASSERT_OK(first);
  const auto second = bank_->StartWrite();
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr(std::to_string(::getpid())));
  first->reset();
  EXPECT_TRUE(bank_->StartWrite().ok());
}

TEST_F(BankTest, RemovedDocumentIsGoneFromThatRevisionOn) {
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "old words", 2)));
  ASSERT_OK((*writer)->Add(MakeDocument("b", "B", "other words")));
  ASSERT_OK((*writer)->Commit("one"));
  const auto before = Latest();
  EXPECT_FALSE(*(*writer)->Remove("c"));
  EXPECT_TRUE(*(*writer)->Remove("a"));
  EXPECT_FALSE(*(*writer)->Remove("a")) << "it is gone already";
  EXPECT_EQ((*writer)->pending_documents(), 1);
  EXPECT_EQ((*writer)->Commit("two")->value, 2);

  const auto after = Latest();
  EXPECT_THAT(Keys(*before), ElementsAre("a", "b"));
  EXPECT_THAT(Keys(*after), ElementsAre("b"));
  EXPECT_EQ(after->Stats()->documents, 1);
  EXPECT_EQ(after->Stats()->passages, 1);
  EXPECT_EQ(after->SearchLexical("old", 5, {})->size(), 0u);
  EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "A", "old words", 2)), AddOutcome::kAdded);
  EXPECT_EQ((*writer)->Commit("three")->value, 3);
  EXPECT_EQ(Latest()->SearchLexical("old", 5, {})->size(), 1u);
}

TEST_F(BankTest, ComparingTellsWhatAddWouldDoAndDoesNothing) {
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  EXPECT_EQ(*(*writer)->Compare("a", "A", "words", {}), AddOutcome::kAdded);
  ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "words")));
  EXPECT_EQ(*(*writer)->Compare("a", "A", "words", {}), AddOutcome::kUnchanged);
  EXPECT_EQ(*(*writer)->Compare("a", "A", "new words", {}), AddOutcome::kReplaced);
  EXPECT_EQ(*(*writer)->Compare("a", "B", "words", {}), AddOutcome::kReplaced);
  EXPECT_EQ(*(*writer)->Compare("a", "A", "words", {{"k", "v"}}), AddOutcome::kReplaced);
  ASSERT_OK((*writer)->Commit("one"));
  EXPECT_EQ(*(*writer)->Compare("a", "A", "words", {}), AddOutcome::kUnchanged);
  EXPECT_EQ((*writer)->Commit("nothing")->value, 1);
}

class HistoryTest : public BankTest {
 protected:
  // Revisions 1: a, b. 2: a replaced, c. 3: b removed. 4: back to 1. 5: d.
  void SetUp() override {
    BankTest::SetUp();
    auto writer = bank_->StartWrite({.author = "Ana"});
    ASSERT_OK(writer);
    writer_ = *std::move(writer);
    Add("a", "first", {{"tenant", "x"}});
    Add("b", "second", {{"tenant", "x"}});
    ASSERT_OK(writer_->Commit("one"));
    Add("a", "changed", {{"tenant", "y"}});
    Add("c", "third");
    ASSERT_OK(writer_->Commit("two"));
    ASSERT_TRUE(*writer_->Remove("b"));
    ASSERT_OK(writer_->Commit("three"));
    ASSERT_EQ(writer_->Revert(RevisionId{1}, "back")->value, 4);
    Add("d", "fourth");
    ASSERT_OK(writer_->Commit("five"));
  }
  void Add(const std::string& key, const std::string& text,
           const std::map<std::string, std::string>& labels = {}) {
    NewDocument document = MakeDocument(key, key, text);
    document.labels = labels;
    ASSERT_OK(writer_->Add(document));
  }
  std::vector<std::string> KeysAt(int64_t revision, const LabelFilter& filter = {}) {
    const auto snapshot = bank_->At(RevisionId{revision});
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    EXPECT_EQ((*snapshot)->revision().value, revision);
    return Keys(**snapshot, filter);
  }

  std::unique_ptr<BankWriter> writer_;
};

TEST_F(HistoryTest, EveryRevisionStaysAsItWas) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(KeysAt(0), ElementsAre());
    EXPECT_THAT(KeysAt(1), ElementsAre("a", "b"));
    EXPECT_THAT(KeysAt(2), ElementsAre("b", "a", "c"));
    EXPECT_THAT(KeysAt(3), ElementsAre("a", "c"));
    EXPECT_THAT(KeysAt(4), ElementsAre("a", "b"));
    EXPECT_THAT(KeysAt(5), ElementsAre("a", "b", "d"));
    const auto at2 = *bank_->At(RevisionId{2});
    EXPECT_EQ(at2->Stats()->documents, 3);
    EXPECT_EQ(at2->ReadContent(at2->FindDocument("a")->version)->text, "changed");
    EXPECT_EQ(at2->SearchLexical("changed", 5, {})->size(), 1u);
    EXPECT_EQ(at2->SearchLexical("fourth", 5, {})->size(), 0u);
    EXPECT_EQ(Latest()->SearchLexical("first", 5, {})->size(), 1u);
    EXPECT_EQ(Latest()->Stats()->documents, 3);
    writer_.reset();
    Reopen();
  }
  const auto missing = bank_->At(RevisionId{6});
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("the newest is 5"));
}

TEST_F(HistoryTest, LogTellsWhoChangedWhatAndWhy) {
  std::vector<RevisionInfo> log;
  ASSERT_OK(bank_->Log([&](const RevisionInfo& info) {
    log.push_back(info);
    return true;
  }));
  ASSERT_EQ(log.size(), 5u);
  EXPECT_EQ(log[0].id.value, 5);
  EXPECT_EQ(log[0].parent.value, 4);
  EXPECT_EQ(log[0].author, "Ana");
  EXPECT_EQ(log[0].message, "five");
  EXPECT_GT(log[0].unix_ms, 0);
  EXPECT_THAT(log[0].changes, ElementsAre(DocumentChange{"d", ChangeKind::kAdded}));
  EXPECT_EQ(log[1].kind, RevisionKind::kRevert);
  EXPECT_EQ(log[1].parent.value, 1);
  EXPECT_THAT(log[1].changes, ElementsAre(DocumentChange{"a", ChangeKind::kReplaced},
                                          DocumentChange{"b", ChangeKind::kAdded},
                                          DocumentChange{"c", ChangeKind::kRemoved}));
  EXPECT_THAT(log[2].changes, ElementsAre(DocumentChange{"b", ChangeKind::kRemoved}));
  EXPECT_THAT(log[3].changes, ElementsAre(DocumentChange{"a", ChangeKind::kReplaced},
                                          DocumentChange{"c", ChangeKind::kAdded}));
  EXPECT_FALSE(log[4].parent.valid());
  int seen = 0;
  ASSERT_OK(bank_->Log([&](const RevisionInfo&) { return ++seen < 2; }));
  EXPECT_EQ(seen, 2);
}

TEST_F(HistoryTest, DiffGoesBothWays) {
  EXPECT_THAT(*bank_->Diff(RevisionId{3}, RevisionId{5}),
              ElementsAre(DocumentChange{"a", ChangeKind::kReplaced},
                          DocumentChange{"b", ChangeKind::kAdded},
                          DocumentChange{"c", ChangeKind::kRemoved},
                          DocumentChange{"d", ChangeKind::kAdded}));
  EXPECT_THAT(*bank_->Diff(RevisionId{5}, RevisionId{4}),
              ElementsAre(DocumentChange{"d", ChangeKind::kRemoved}));
  EXPECT_THAT(*bank_->Diff(RevisionId{1}, RevisionId{4}), ElementsAre());
  EXPECT_EQ(bank_->Diff(RevisionId{1}, RevisionId{9}).status().code(), StatusCode::kNotFound);
}

TEST_F(HistoryTest, AccessFollowsTheLabelsOfToday) {
  // Today a has tenant x again, b is there, c is gone.
  EXPECT_THAT(KeysAt(2, {{"tenant", "x"}}), ElementsAre("b", "a"));
  EXPECT_THAT(KeysAt(2, {{"tenant", "y"}}), ElementsAre());
  Add("a", "first", {{"tenant", "z"}});
  ASSERT_OK(writer_->Commit("six"));
  EXPECT_THAT(KeysAt(1, {{"tenant", "x"}}), ElementsAre("b"));
  EXPECT_THAT(KeysAt(1, {{"tenant", "z"}}), ElementsAre("a"));
  // A document that is gone keeps the labels it had last.
  ASSERT_TRUE(*writer_->Remove("a"));
  ASSERT_OK(writer_->Commit("seven"));
  EXPECT_THAT(KeysAt(1, {{"tenant", "z"}}), ElementsAre("a"));
  EXPECT_THAT(KeysAt(1, {{"title", "a"}}), ElementsAre("a"));
}

TEST_F(HistoryTest, GoingBackRefusesWhatItCannotDo) {
  EXPECT_EQ(writer_->Revert(RevisionId{6}, "").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(writer_->Revert(RevisionId{0}, "").status().code(), StatusCode::kNotFound);
  Add("e", "fifth");
  EXPECT_EQ(writer_->Revert(RevisionId{1}, "").status().code(), StatusCode::kFailedPrecondition);
  ASSERT_OK(writer_->Commit("six"));
  EXPECT_EQ(writer_->Revert(RevisionId{5}, "")->value, 7) << "the refusals left it usable";
  EXPECT_THAT(KeysAt(7), ElementsAre("a", "b", "d"));
}

TEST_F(BankTest, NamesThatFitSeveralDocumentsListThem) {
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Add(MakeDocument("docs/alpha.txt", "Alpha", "x")));
  ASSERT_OK((*writer)->Add(MakeDocument("docs/beta.txt", "Beta", "y")));
  ASSERT_OK((*writer)->Commit(""));
  const auto snapshot = Latest();
  EXPECT_EQ(snapshot->FindDocument("ALPHA")->key, "docs/alpha.txt");
  EXPECT_EQ(snapshot->FindDocument("2")->key, "docs/beta.txt");
  EXPECT_EQ(snapshot->FindDocument("gamma").status().code(), StatusCode::kNotFound);
  const auto both = snapshot->FindDocument("docs");
  EXPECT_EQ(both.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(both.status().message(), HasSubstr("docs/beta.txt"));
}

TEST_F(BankTest, FiltersSeeOnlyTheirDocuments) {
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  for (int i = 0; i < 6; ++i) {
    NewDocument document =
        MakeDocument("k" + std::to_string(i), "T", "shared words number" + std::to_string(i));
    document.labels = {{"tenant", i % 2 == 0 ? "even" : "odd"}, {"year", i < 3 ? "1" : "2"}};
    ASSERT_OK((*writer)->Add(document));
  }
  ASSERT_OK((*writer)->Commit(""));
  const auto snapshot = Latest();
  EXPECT_THAT(Keys(*snapshot, {{"tenant", "odd"}}), ElementsAre("k1", "k3", "k5"));
  EXPECT_THAT(Keys(*snapshot, {{"tenant", "odd"}, {"year", "2"}}), ElementsAre("k3", "k5"));
  EXPECT_THAT(Keys(*snapshot, {{"path", "/tmp/k4"}}), ElementsAre("k4"));
  EXPECT_THAT(Keys(*snapshot, {{"tenant", "none"}}), ElementsAre());
  EXPECT_EQ((*snapshot->MatchingPassages({{"tenant", "even"}}))->kept.size(), 3);
  EXPECT_EQ(snapshot->SearchLexical("shared", 10, {{"tenant", "even"}})->size(), 3u);
  EXPECT_EQ(snapshot->SearchLexical("number1", 10, {{"tenant", "even"}})->size(), 0u);
}

// Merged shards that were cut again would be merged again, without end.
TEST_F(BankTest, ShardsOfManySmallPassagesMergeIntoOne) {
  constexpr int64_t kPassages = 20000;
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  for (int i = 0; i < 8; ++i) {
    NewDocument document = MakeDocument("d" + std::to_string(i), "T", std::string(kPassages, 'x'));
    document.passages.clear();
    for (int64_t p = 0; p < kPassages; ++p) document.passages.push_back({p, p + 1, 0, {1}});
    ASSERT_OK((*writer)->Add(std::move(document)));
    ASSERT_OK((*writer)->Commit(""));
  }
  const std::filesystem::directory_iterator files(folder_ / "bank/lexical");
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
  EXPECT_EQ(Latest()->SearchLexical("x", 10, {})->size(), 10u);
}

TEST_F(BankTest, LatentsComeBackBitForBit) {
  const LatentLayout layout{.key_dim = 16,
                            .layers = 2,
                            .kv_heads = 1,
                            .head_dim = 8,
                            .key_dtype = DType::kI8,
                            .latent_dtype = DType::kF16};
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "one two three four", 3)));
  ASSERT_OK((*writer)->Add(MakeDocument("b", "B", "five six", 1)));
  ASSERT_OK((*writer)->Commit(""));
  const auto encoding = (*writer)->OpenEncoding({{}, "f00d", "{}", layout});
  ASSERT_OK(encoding);
  const VersionId a = Latest()->FindDocument("a")->version;
  EXPECT_EQ(Latest()->FindUnencoded(*encoding)->size(), 2u);

  const LatentBlock first = MakeLatents(layout, {2, 1}, 3);
  ASSERT_OK((*writer)->AddLatents(*encoding, a, 0, first));
  EXPECT_EQ((*writer)->AddLatents(*encoding, a, 1, first).code(), StatusCode::kAlreadyExists);
  ASSERT_OK((*writer)->CommitLatents());
  const auto snapshot = Latest();
  EXPECT_EQ(snapshot->revision().value, 1) << "latents make no revision";

  const auto missing = snapshot->FindUnencoded(*encoding);
  ASSERT_OK(missing);
  ASSERT_EQ(missing->size(), 2u);
  EXPECT_EQ((*missing)[0].version, a);
  EXPECT_EQ((*missing)[0].first_passage, 2);
  const auto runs = snapshot->RoutingKeys(*encoding);
  ASSERT_OK(runs);
  ASSERT_EQ(runs->size(), 1u);
  EXPECT_THAT((*runs)[0].chunk_begin, ElementsAre(0, 2, 3));
  EXPECT_THAT((*runs)[0].passages, ElementsAre(PassageId{0}, PassageId{1}));
  EXPECT_TRUE(std::equal(first.keys.begin(), first.keys.end(), (*runs)[0].keys));
  const auto second = snapshot->ReadLatents(*encoding, PassageId{1});
  ASSERT_OK(second);
  EXPECT_THAT(second->chunks, ElementsAre(1));
  const auto row = static_cast<size_t>(layout.latent_row_bytes());
  EXPECT_TRUE(std::equal(second->latents.begin(), second->latents.end(),
                         first.latents.begin() + static_cast<ptrdiff_t>(2 * row)));
  EXPECT_EQ(snapshot->ReadLatents(*encoding, PassageId{2}).status().code(), StatusCode::kNotFound);
  const auto stats = snapshot->Encodings();
  ASSERT_OK(stats);
  EXPECT_EQ((*stats)[0].encoded_passages, 2);
  EXPECT_EQ((*stats)[0].latents, 3);
}

// A document of one passage a word, a token each.
NewDocument Words(const std::string& key, const std::vector<std::string>& words) {
  NewDocument document = MakeDocument(key, "T", "", 0);
  for (const std::string& word : words) {
    const auto begin = static_cast<int64_t>(document.text.size());
    document.text += word;
    const auto token = static_cast<int32_t>(std::hash<std::string>()(word) % 1000);
    document.passages.push_back({begin, begin + static_cast<int64_t>(word.size()), 0, {token}});
  }
  return document;
}

TEST_F(BankTest, ChangedDocumentKeepsTheLatentsOfPassagesThatDidNotChange) {
  const LatentLayout layout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};
  const auto expect_latents = [&](EncodingId encoding, const std::vector<int64_t>& seeds) {
    const auto snapshot = Latest();
    const auto info = snapshot->FindDocument("a");
    ASSERT_OK(info);
    const auto content = snapshot->ReadContent(info->version);
    ASSERT_OK(content);
    ASSERT_EQ(content->passages.size(), seeds.size());
    for (size_t i = 0; i < seeds.size(); ++i) {
      const auto block = snapshot->ReadLatents(encoding, content->passages[i].id);
      if (seeds[i] < 0) {
        EXPECT_EQ(block.status().code(), StatusCode::kNotFound) << "passage " << i;
      } else {
        ASSERT_OK(block);
        EXPECT_EQ(block->latents, MakeLatents(layout, {2}, seeds[i]).latents) << "passage " << i;
      }
    }
  };
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  const auto encoding = (*writer)->OpenEncoding({{}, "f00d", "{}", layout});
  ASSERT_OK(encoding);
  ASSERT_OK((*writer)->Add(Words("a", {"zero", "one", "two", "three", "four"})));
  ASSERT_OK((*writer)->Commit("one"));
  const VersionId first = Latest()->FindDocument("a")->version;
  for (int64_t p = 0; p < 4; ++p) {  // the last one is not encoded yet
    ASSERT_OK((*writer)->AddLatents(*encoding, first, p, MakeLatents(layout, {2}, p)));
  }
  ASSERT_OK((*writer)->CommitLatents());

  // Inserted, moved, repeated and dropped passages.
  EXPECT_EQ(*(*writer)->Add(Words("a", {"new", "one", "two", "zero", "four", "one"})),
            AddOutcome::kReplaced);
  ASSERT_OK((*writer)->Commit("two"));
  EXPECT_EQ((*writer)->reused_passages(), 4);
  expect_latents(*encoding, {-1, 1, 2, 0, -1, 1});

  // What comes back after a removal needs no encoding either.
  ASSERT_TRUE(*(*writer)->Remove("a"));
  ASSERT_OK((*writer)->Commit("three"));
  EXPECT_EQ(*(*writer)->Add(Words("a", {"zero", "two"})), AddOutcome::kAdded);
  ASSERT_OK((*writer)->Commit("four"));
  expect_latents(*encoding, {0, 2});
  Reopen();
  expect_latents(*encoding, {0, 2});
}

TEST_F(BankTest, DamagedVersionCanBeReplaced) {
  {
    auto writer = bank_->StartWrite();
    ASSERT_OK(writer);
    const auto encoding = (*writer)->OpenEncoding({{}, "f00d", "{}", {.key_dim = 16}});
    ASSERT_OK(encoding);
    ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "some words")));
    ASSERT_OK((*writer)->Commit("one"));
    ASSERT_OK(
        (*writer)->AddLatents(*encoding, VersionId{1}, 0, MakeLatents({.key_dim = 16}, {1}, 1)));
    ASSERT_OK((*writer)->CommitLatents());
  }
  const auto names = PosixFileSystem().List(folder_ / "bank/packs");
  ASSERT_OK(names);
  const std::string path = folder_ / "bank/packs/" + names->front();
  std::string bytes = ReadFile(path).value();
  bytes.back() ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, bytes));
  Reopen();
  ASSERT_FALSE(Latest()->ReadContent(VersionId{1}).ok());
  auto writer = bank_->StartWrite();
  ASSERT_OK(writer);
  EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "A", "other words")), AddOutcome::kReplaced);
  ASSERT_OK((*writer)->Commit("two"));
  EXPECT_EQ(Latest()->ReadContent(VersionId{2})->text, "other words");
}

// Texts are large, and a search finds many passages.
TEST_F(BankTest, PassagesAreFoundWithoutTheirText) {
  {
    auto writer = bank_->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Add(MakeDocument("a", "A", "one two three", 3)));
    ASSERT_OK((*writer)->Add(MakeDocument("b", "B", "four five", 2)));
    ASSERT_OK((*writer)->Commit("one"));
  }
  const auto names = PosixFileSystem().List(folder_ / "bank/packs");
  ASSERT_OK(names);
  const std::string path = folder_ / "bank/packs/" + names->front();
  const std::string zeros(ReadFile(path).value().size(), '\0');
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, zeros));
  Reopen();
  const auto snapshot = Latest();
  ASSERT_EQ(snapshot->ReadContent(VersionId{2}).status().code(), StatusCode::kDataLoss);
  const auto found = snapshot->FindPassage(PassageId{4});
  ASSERT_OK(found);
  EXPECT_EQ(found->version, VersionId{2});
  EXPECT_EQ(found->index, 1);
  EXPECT_EQ(snapshot->FindPassage(PassageId{5}).status().code(), StatusCode::kNotFound);
}

TEST(Bank, RefusesWhatIsNoBank) {
  TemporaryFolder folder;
  EXPECT_EQ(Bank::Open(folder / "absent").status().code(), StatusCode::kNotFound);
  std::filesystem::create_directory(folder / "other");
  EXPECT_EQ(Bank::Open(folder / "other").status().code(), StatusCode::kNotFound);
  std::filesystem::create_directory(folder / "other/photos");
  EXPECT_EQ(Bank::Open(folder / "other").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Bank::Create(folder / "other", {}).status().code(), StatusCode::kAlreadyExists);
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), folder / "file", "hello"));
  EXPECT_EQ(Bank::Open(folder / "file").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace msa
