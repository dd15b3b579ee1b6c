// What compaction gives back, what it keeps, and that nobody notices it.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/compaction.h"
#include "msa/bank/core.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};
constexpr int64_t kSmallSeal = 1200;
constexpr int64_t kDocuments = 6;
constexpr int64_t kDay = int64_t{24} * 60 * 60 * 1000;

TEST(ChooseFiles, TakesTheEmptiestUntilTheRestIsWithinThePolicy) {
  const auto use = [](int64_t live, int64_t expired, int64_t dead) {
    return FileUse{FileId{1}, FileKind::kPack, {}, live, expired, dead};
  };
  const CompactionPolicy policy{0.2, 10, false};
  EXPECT_THAT(ChooseFiles({}, policy), IsEmpty());
  EXPECT_THAT(ChooseFiles(std::vector{use(100, 20, 20)}, policy), IsEmpty());
  EXPECT_THAT(ChooseFiles(std::vector{use(100, 21, 21)}, policy), ElementsAre(0));
  EXPECT_THAT(ChooseFiles(std::vector{use(0, 9, 9)}, policy), IsEmpty());
  // 90 of 300 are dead; without the second 40 are, which is within 60.
  const std::vector files = {use(100, 30, 30), use(100, 50, 50), use(100, 10, 10)};
  EXPECT_THAT(ChooseFiles(files, policy), ElementsAre(1));
  // Asked to drop everything, whatever has something to drop is taken.
  EXPECT_THAT(ChooseFiles(files, {0.2, 1, true}), ElementsAre(1, 0, 2));
  EXPECT_THAT(ChooseFiles(std::vector{use(100, 0, 4)}, {0.05, 1, true}), IsEmpty());
}

std::string KeyOf(int64_t number) { return std::string("k").append(std::to_string(number)); }

// A word that is in one version only.
std::string WordOf(int64_t number, int64_t round) {
  std::string word = "own";
  return word.append(std::to_string(number)).append("x").append(std::to_string(round));
}

NewDocument DocumentOf(int64_t number, int64_t round) {
  const std::string word = WordOf(number, round);
  NewDocument document = MakeDocument(KeyOf(number), "title", word + " common words ", 0);
  for (int i = 0; i < 20; ++i) document.text.append(std::to_string(i)).append(word).append(" ");
  document.passages.push_back({0, 20, 0, {static_cast<int32_t>(number * 100 + round)}});
  document.passages.push_back(
      {20, static_cast<int64_t>(document.text.size()), 0, {static_cast<int32_t>(round)}});
  return document;
}

class CompactionTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_ / "bank";
    ASSERT_OK(Bank::Create(path_, {}));
  }

  static WriterTuning Tuning(int64_t days_later, bool automatic) {
    WriterTuning tuning(kSmallSeal);
    tuning.ahead_ms = days_later * kDay;
    tuning.automatic.least_bytes = automatic ? 1 : int64_t{1} << 40;
    return tuning;
  }
  Result<std::unique_ptr<BankWriter>> Start(int64_t days_later = 0, bool automatic = false,
                                            FileSystem& fs = PosixFileSystem()) {
    MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path_, fs));
    return Writer::Start(std::move(core), {}, Tuning(days_later, automatic));
  }

  // Rewrites every document and gives it latents; a revision each time.
  Status Rewrite(BankWriter& writer, int64_t round) {
    for (int64_t i = 0; i < kDocuments; ++i) {
      MSA_RETURN_IF_ERROR(writer.Add(DocumentOf(i, round)).status());
    }
    MSA_RETURN_IF_ERROR(writer.Commit(WordOf(0, round)).status());
    MSA_ASSIGN_OR_RETURN(encoding_, writer.OpenEncoding({{}, "feed", "{}", kLayout}));
    MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path_));
    MSA_ASSIGN_OR_RETURN(const auto snapshot, bank->Latest());
    MSA_ASSIGN_OR_RETURN(const auto missing, snapshot->FindUnencoded(encoding_));
    for (const auto& run : missing) {
      for (int64_t p = run.first_passage; p < run.first_passage + run.num_passages; ++p) {
        MSA_RETURN_IF_ERROR(
            writer.AddLatents(encoding_, run.version, p, LatentsOf(run.version, p)));
      }
      MSA_RETURN_IF_ERROR(writer.CommitLatents());
    }
    return OkStatus();
  }
  Status Fill(int64_t rounds) {
    MSA_ASSIGN_OR_RETURN(const auto writer, Start());
    for (int64_t round = 1; round <= rounds; ++round) {
      MSA_RETURN_IF_ERROR(Rewrite(*writer, round));
    }
    return OkStatus();
  }
  static LatentBlock LatentsOf(VersionId version, int64_t passage) {
    return MakeLatents(kLayout, {2}, version.value * 10 + passage);
  }

  Result<CompactReport> Compact(std::optional<Retention> retention, int64_t days_later = 0,
                                FileSystem& fs = PosixFileSystem()) {
    MSA_ASSIGN_OR_RETURN(const auto writer, Start(days_later, false, fs));
    return writer->Compact(retention);
  }

  static std::map<std::string, int64_t> Disk(const Bank& bank) {
    return const_cast<Bank&>(bank).Latest().value()->Stats()->disk_bytes;
  }
  // Passages of a revision that have latents, all of them right.
  int64_t Encoded(int64_t revision) {
    const auto bank = Bank::Open(path_);
    const auto snapshot = (*bank)->At(RevisionId{revision});
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    int64_t encoded = 0;
    const auto runs = (*snapshot)->RoutingKeys(encoding_);
    EXPECT_TRUE(runs.ok()) << runs.status();
    for (const KeyRun& run : *runs) encoded += static_cast<int64_t>(run.passages.size());
    int64_t read = 0;
    const auto passages = (*snapshot)->MatchingPassages({});
    EXPECT_TRUE(passages.ok()) << passages.status();
    for (const PassageId passage : (*passages)->kept.Members()) {
      const auto block = (*snapshot)->ReadLatents(encoding_, passage);
      if (block.status().code() == StatusCode::kNotFound) continue;
      EXPECT_TRUE(block.ok()) << block.status();
      const auto address = (*snapshot)->FindPassage(passage);
      EXPECT_TRUE(address.ok()) << address.status();
      EXPECT_EQ(block->latents, LatentsOf(address->version, address->index).latents);
      ++read;
    }
    EXPECT_EQ(encoded, read);
    return encoded;
  }
  // Every document of a revision is whole and can be found.
  void ExpectTexts(int64_t revision, int64_t round) {
    const auto bank = Bank::Open(path_);
    const auto snapshot = (*bank)->At(RevisionId{revision});
    ASSERT_OK(snapshot);
    for (int64_t i = 0; i < kDocuments; ++i) {
      const auto info = (*snapshot)->FindDocument(KeyOf(i));
      ASSERT_OK(info);
      const auto content = (*snapshot)->ReadContent(info->version);
      ASSERT_OK(content);
      EXPECT_EQ(content->text, DocumentOf(i, round).text);
      EXPECT_EQ((*snapshot)->SearchLexical(WordOf(i, round), 9, {})->size(), 1u);
    }
  }
  // Paths of sealed ones, ascending.
  std::vector<std::string> Segments() {
    const auto names = PosixFileSystem().List(path_ + "/segments");
    std::vector<std::string> paths;
    for (const std::string& name : *names) {
      if (name.ends_with(".safetensors")) paths.push_back(path_ + "/segments/" + name);
    }
    return paths;
  }
  void ExpectSound() {
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    ASSERT_OK((*bank)->Audit());
  }

  TemporaryFolder folder_;
  std::string path_;
  EncodingId encoding_;
};

TEST_F(CompactionTest, LatentsGoOnceTheyWereSupersededLongerAgoThanTheLimit) {
  ASSERT_OK(Fill(3));
  const int64_t before = Disk(**Bank::Open(path_))["segments"];
  const auto early = Compact({}, 29);
  ASSERT_OK(early);
  EXPECT_EQ(early->dropped_latents, 0);
  EXPECT_EQ(early->files, 0);
  for (int64_t revision = 1; revision <= 3; ++revision) {
    EXPECT_EQ(Encoded(revision), 2 * kDocuments);
  }
  const auto late = Compact({}, 31);
  ASSERT_OK(late);
  EXPECT_EQ(late->dropped_latents, 2 * 2 * kDocuments);
  EXPECT_EQ(late->dropped_texts, 0);
  EXPECT_LT(late->bytes_after, late->bytes_before);
  EXPECT_EQ(Encoded(1), 0);
  EXPECT_EQ(Encoded(2), 0);
  EXPECT_EQ(Encoded(3), 2 * kDocuments);
  EXPECT_LT(Disk(**Bank::Open(path_))["segments"], before / 2);
  for (int64_t revision = 1; revision <= 3; ++revision) ExpectTexts(revision, revision);
  ExpectSound();
  // Nothing is left to do.
  EXPECT_EQ(Compact({}, 31)->files, 0);
}

TEST_F(CompactionTest, WhatWentBackIntoUseIsNotSuperseded) {
  ASSERT_OK(Fill(2));
  ASSERT_OK(Start().value()->Revert(RevisionId{1}, "back"));
  // Round 2 was superseded by going back, now.
  ASSERT_OK(Compact(Retention{.latents_days = 1}));
  EXPECT_EQ(Encoded(2), 2 * kDocuments);
  ASSERT_OK(Compact({}, 2));
  EXPECT_EQ(Encoded(1), 2 * kDocuments);
  EXPECT_EQ(Encoded(2), 0);
  EXPECT_EQ(Encoded(3), 2 * kDocuments);
  ExpectSound();
}

TEST_F(CompactionTest, TextsGoOnlyWhenAskedAndSayThatTheyAreGone) {
  ASSERT_OK(Fill(2));
  const auto report = Compact(Retention{.text_days = 0, .latents_days = 0});
  ASSERT_OK(report);
  EXPECT_EQ(report->dropped_texts, kDocuments);
  EXPECT_EQ(report->dropped_latents, 2 * kDocuments);
  ExpectTexts(2, 2);
  ExpectSound();
  const auto bank = Bank::Open(path_);
  const auto old = (*bank)->At(RevisionId{1});
  ASSERT_OK(old);
  EXPECT_EQ((*old)->GetRetention().value(), (Retention{.text_days = 0, .latents_days = 0}));
  const auto info = (*old)->FindDocument("k1");
  ASSERT_OK(info);
  EXPECT_EQ(info->title, "title");
  EXPECT_FALSE(info->text_kept);
  const auto content = (*old)->ReadContent(info->version);
  EXPECT_EQ(content.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(content.status().message(), HasSubstr("the text of k1, version 2, is not kept"));
  EXPECT_THAT(*(*old)->SearchLexical("common", 9, {}), IsEmpty());
  EXPECT_EQ((*(*old)->MatchingPassages({}))->kept.size(), 0);
  EXPECT_THAT(*(*old)->FindUnencoded(encoding_), IsEmpty());
  EXPECT_EQ((*old)->Stats()->documents, kDocuments);
  // Going back to it shows the same, and adding the same document brings its text back.
  const auto writer = Start();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Revert(RevisionId{1}, "back"));
  EXPECT_EQ(*(*writer)->Add(DocumentOf(1, 1)), AddOutcome::kReplaced);
  ASSERT_OK((*writer)->Commit("again"));
  EXPECT_EQ((*bank)->Latest().value()->SearchLexical("common", 9, {})->size(), 1u);
  // One without a text can be erased like any other.
  ASSERT_OK((*writer)->Erase({.documents = {"k2"}, .where = {}}, "erase"));
  ExpectSound();
}

TEST_F(CompactionTest, TenRewritesStayBelowTheBoundByThemselves) {
  // What stays is the newest round only, so nine tenths of what was written are dead.
  std::map<std::string, int64_t> once;
  {
    const auto writer = Start(0, true);
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Compact(Retention{.text_days = 0, .latents_days = 0}));
    ASSERT_OK(Rewrite(**writer, 1));
    once = Disk(**Bank::Open(path_));
    for (int64_t round = 2; round <= 11; ++round) ASSERT_OK(Rewrite(**writer, round));
  }
  ExpectTexts(11, 11);
  EXPECT_EQ(Encoded(11), 2 * kDocuments);
  ExpectSound();
  auto catalog = Catalog::Open(path_ + "/catalog.sqlite", Catalog::Access::kRead);
  ASSERT_OK(catalog);
  const BankId bank = OpenCore(path_, PosixFileSystem()).value()->identity.id;
  const auto found = Expired::Find(*catalog, bank, UnixMilliseconds());
  ASSERT_OK(found);
  for (const auto& files : {MeasurePacks(*catalog, *found), MeasureLatents(*catalog, *found),
                            MeasureShards(*catalog)}) {
    ASSERT_OK(files);
    int64_t live = 0;
    int64_t dead = 0;
    for (const FileUse& file : *files) {
      live += file.live;
      dead += file.dead;
    }
    EXPECT_GT(live, 0);
    EXPECT_LE(10 * (live + dead), 13 * live);
  }
}

TEST_F(CompactionTest, PowerLostAtAnyWriteOrSyncLeavesTheBankWhole) {
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE("operation " + std::to_string(fail_at));
    path_ = folder_ / KeyOf(fail_at);
    ASSERT_OK(Bank::Create(path_, {}));
    ASSERT_OK(Fill(2));
    FaultFileSystem fs(fail_at);
    const auto report = Compact(Retention{.text_days = 0, .latents_days = 0}, 0, fs);
    const bool failed = fs.failed();
    EXPECT_TRUE(report.ok() || failed) << report.status();
    fs.LosePower();
    ExpectTexts(2, 2);
    EXPECT_EQ(Encoded(2), 2 * kDocuments);
    ExpectSound();
    const auto rest = Compact(Retention{.text_days = 0, .latents_days = 0});
    ASSERT_OK(rest);
    EXPECT_THAT(rest->damaged, IsEmpty());
    ExpectTexts(2, 2);
    EXPECT_EQ(Encoded(1), 0);
    EXPECT_EQ(Encoded(2), 2 * kDocuments);
    ExpectSound();
    if (!failed) break;
    ASSERT_LT(fail_at, 1000);
  }
}

TEST_F(CompactionTest, ReadersGoOnWhileAnotherProcessCompacts) {
  ASSERT_OK(Fill(3));
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  // One has read from the files that go, the other has not.
  const auto reader = (*bank)->At(RevisionId{3});
  const auto late_bank = Bank::Open(path_);
  const auto late_reader = (*late_bank)->At(RevisionId{3});
  const auto superseded = (*bank)->At(RevisionId{2});
  const VersionId version = (*reader)->FindDocument("k3")->version;
  ASSERT_OK((*reader)->ReadContent(version));
  const auto keys = (*reader)->RoutingKeys(encoding_);
  ASSERT_OK(keys);
  const std::vector<std::byte> first(keys->front().keys, keys->front().keys + 64);

  const pid_t child = ::fork();
  if (child == 0) {
    const auto report = Compact(Retention{.text_days = 0, .latents_days = 0});
    ::_exit(report.ok() && report->dropped_texts == 2 * kDocuments ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);

  EXPECT_TRUE(std::equal(first.begin(), first.end(), keys->front().keys));
  for (const auto& snapshot : {*reader, *late_reader}) {
    for (int64_t i = 0; i < kDocuments; ++i) {
      const auto info = snapshot->FindDocument(KeyOf(i));
      ASSERT_OK(info);
      const auto content = snapshot->ReadContent(info->version);
      ASSERT_OK(content);
      EXPECT_EQ(content->text, DocumentOf(i, 3).text);
      EXPECT_EQ(snapshot->SearchLexical(WordOf(i, 3), 9, {})->size(), 1u);
      ASSERT_OK(snapshot->ReadLatents(encoding_, content->passages.front().id));
    }
    ASSERT_OK(snapshot->RoutingKeys(encoding_));
  }
  const auto gone = (*superseded)->ReadContent((*superseded)->FindDocument("k3")->version);
  EXPECT_EQ(gone.status().code(), StatusCode::kFailedPrecondition) << gone.status();
  // What a reader holds of files that went is closed when it looks at the bank again.
  ASSERT_OK((*bank)->Latest());
}

TEST_F(CompactionTest, GivesBackWhatErasingLeftAndItsCertificateStillHolds) {
  ASSERT_OK(Fill(1));
  std::string certificate;
  {
    const auto writer = Start();
    ASSERT_OK(writer);
    const auto report = (*writer)->Erase({.documents = {"k0", "k1", "k2"}, .where = {}}, "erase");
    ASSERT_OK(report);
    ASSERT_THAT(report->waits_for, IsEmpty());
    const auto signed_text = (*writer)->Certify(folder_ / "key", report->numbers);
    ASSERT_OK(signed_text);
    certificate = *signed_text;
  }
  const auto before = Disk(**Bank::Open(path_));
  const auto report = Compact({});
  ASSERT_OK(report);
  EXPECT_EQ(report->dropped_texts + report->dropped_latents, 0);
  EXPECT_THAT(report->damaged, IsEmpty());
  EXPECT_GT(report->files, 0);
  auto after = Disk(**Bank::Open(path_));
  EXPECT_LT(after["packs"], before.at("packs"));
  const auto bank = Bank::Open(path_);
  const auto proof = (*bank)->VerifyErased(certificate);
  ASSERT_OK(proof);
  EXPECT_EQ(proof->documents, 3);
  EXPECT_EQ(Encoded(2), 2 * (kDocuments - 3));
}

TEST_F(CompactionTest, SegmentsThatAreHalfDeadBecomeOne) {
  ASSERT_OK(Fill(2));
  const size_t before = Segments().size();
  ASSERT_GT(before, 3u);
  const auto writer = Start();
  ASSERT_OK(writer);
  for (int64_t i = 0; i < kDocuments; i += 2) ASSERT_TRUE((*writer)->Remove(KeyOf(i)).value());
  ASSERT_OK((*writer)->Commit("remove"));
  const auto report = (*writer)->Compact(Retention{.latents_days = 0});
  ASSERT_OK(report);
  EXPECT_THAT(report->damaged, IsEmpty());
  EXPECT_EQ(Encoded(3), kDocuments);
  EXPECT_LT(Segments().size(), before / 2);
  ExpectSound();
}

TEST_F(CompactionTest, LeavesDamagedFilesAndNamesThem) {
  ASSERT_OK(Fill(2));
  const std::vector<std::string> segments = Segments();
  ASSERT_GT(segments.size(), 3u);
  std::string bytes = ReadFile(segments.back()).value();
  bytes.back() ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), segments.back(), bytes));
  const auto writer = Start();
  ASSERT_OK(writer);
  for (int64_t i = 0; i < kDocuments; i += 2) ASSERT_TRUE((*writer)->Remove(KeyOf(i)).value());
  ASSERT_OK((*writer)->Commit("remove"));
  const auto report = (*writer)->Compact(Retention{.latents_days = 0});
  ASSERT_OK(report);
  EXPECT_THAT(report->damaged, ElementsAre(segments.back()));
  EXPECT_GT(report->dropped_latents, 2 * kDocuments);
  EXPECT_EQ(ReadFile(segments.back()).value(), bytes);
  EXPECT_FALSE(PosixFileSystem().Exists(segments[segments.size() - 2]));
  ASSERT_OK((*writer)->Add(DocumentOf(9, 9)));
  ASSERT_OK((*writer)->Commit("goes on"));
}

TEST_F(CompactionTest, WaitsForNothingThatIsUnderWay) {
  ASSERT_OK(Fill(1));
  const auto bank = Bank::Open(path_);
  auto reader = (*bank)->Latest();
  ASSERT_OK(reader);
  const auto writer = Start();
  ASSERT_OK(writer);
  EXPECT_EQ((*writer)->Compact(Retention{.latents_days = -1}).status().code(),
            StatusCode::kInvalidArgument);
  ASSERT_OK((*writer)->Add(DocumentOf(7, 7)));
  EXPECT_EQ((*writer)->Compact({}).status().code(), StatusCode::kFailedPrecondition);
  ASSERT_OK((*writer)->Commit("seven"));
  const auto report = (*writer)->Erase({.documents = {"k1"}, .where = {}}, "erase");
  ASSERT_OK(report);
  ASSERT_THAT(report->waits_for, HasSubstr("readers"));
  const auto refused = (*writer)->Compact({});
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("msa erase"));
}

}  // namespace
}  // namespace msa
