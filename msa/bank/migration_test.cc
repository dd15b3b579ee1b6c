// A bank that moves to another encoding: answers from one or the other, never from parts of both.
#include <gmock/gmock.h>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/catalog.h"
#include "msa/bank/core.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const EncodingInfo kOld{
    {}, "old", "{}", {.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4}};
const EncodingInfo kNew{{}, "new", "{}", {.key_dim = 8, .layers = 2, .kv_heads = 1, .head_dim = 4}};
constexpr int64_t kSmallSeal = 1000;
constexpr int64_t kDocuments = 4;

Result<std::unique_ptr<BankWriter>> StartWriter(const std::string& path,
                                                FileSystem& fs = PosixFileSystem()) {
  MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path, fs));
  return Writer::Start(std::move(core), {}, kSmallSeal);
}

// Latents of every passage of the latest revision that lacks them.
Status EncodeAll(BankWriter& writer, const std::string& path, EncodingId id,
                 const EncodingInfo& encoding) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path));
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank->Latest());
  MSA_ASSIGN_OR_RETURN(const auto missing, snapshot->FindUnencoded(id));
  for (const auto& run : missing) {
    for (int64_t p = run.first_passage; p < run.first_passage + run.num_passages; ++p) {
      MSA_RETURN_IF_ERROR(writer.AddLatents(
          id, run.version, p, MakeLatents(encoding.layout, {2}, run.version.value * 10 + p)));
    }
    MSA_RETURN_IF_ERROR(writer.CommitLatents());
  }
  return OkStatus();
}

Status Make(const std::string& path) {
  MSA_RETURN_IF_ERROR(Bank::Create(path, {}).status());
  MSA_ASSIGN_OR_RETURN(auto writer, StartWriter(path));
  for (int64_t i = 0; i < kDocuments; ++i) {
    MSA_RETURN_IF_ERROR(
        writer->Add(MakeDocument("k" + std::to_string(i), "", "one two", 2)).status());
  }
  MSA_RETURN_IF_ERROR(writer->Commit("add").status());
  MSA_ASSIGN_OR_RETURN(const EncodingId id, writer->OpenEncoding(kOld));
  return EncodeAll(*writer, path, id, kOld);
}

Status Migrate(const std::string& path, const EncodingInfo& to,
               FileSystem& fs = PosixFileSystem()) {
  MSA_ASSIGN_OR_RETURN(auto writer, StartWriter(path, fs));
  MSA_ASSIGN_OR_RETURN(const EncodingId id, writer->BeginMigration(to));
  MSA_RETURN_IF_ERROR(EncodeAll(*writer, path, id, to));
  return writer->FinishMigration();
}

// "old" or "new*", a star for a pending one, in the order that the bank gives.
std::vector<std::string> Names(const std::string& path) {
  const auto bank = Bank::Open(path);
  const auto encodings = (*bank)->Latest().value()->Encodings();
  std::vector<std::string> names;
  for (const EncodingStats& encoding : *encodings) {
    names.push_back(encoding.info.fingerprint + (encoding.is_pending ? "*" : ""));
  }
  return names;
}

// The encoding that answers has whole and right latents of every passage.
void ExpectAnswers(const std::string& path, const EncodingInfo& expected) {
  const auto bank = Bank::Open(path);
  ASSERT_OK(bank);
  const auto snapshot = (*bank)->Latest();
  ASSERT_OK(snapshot);
  const auto encodings = (*snapshot)->Encodings();
  ASSERT_OK(encodings);
  ASSERT_FALSE(encodings->empty());
  const EncodingStats& current = encodings->back();
  ASSERT_EQ(current.info.fingerprint, expected.fingerprint);
  EXPECT_EQ(current.encoded_passages, 2 * kDocuments);
  const auto runs = (*snapshot)->RoutingKeys(current.info.id);
  ASSERT_OK(runs);
  int64_t passages = 0;
  for (const KeyRun& run : *runs) {
    for (const PassageId passage : run.passages) {
      const auto address = (*snapshot)->FindPassage(passage);
      ASSERT_OK(address);
      const auto block = (*snapshot)->ReadLatents(current.info.id, passage);
      ASSERT_OK(block);
      EXPECT_EQ(
          block->latents,
          MakeLatents(expected.layout, {2}, address->version.value * 10 + address->index).latents);
      ++passages;
    }
  }
  EXPECT_EQ(passages, 2 * kDocuments);
  ASSERT_OK((*bank)->Audit());
}

class MigrationTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_ / "bank";
    ASSERT_OK(Make(path_));
  }
  int64_t SegmentBytes() {
    const auto bank = Bank::Open(path_);
    return (*bank)->Latest().value()->Stats()->disk_bytes["segments"];
  }
  int64_t Revision() {
    const auto bank = Bank::Open(path_);
    return (*bank)->Latest().value()->revision().value;
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(MigrationTest, TheOldEncodingAnswersUntilTheNewOneIsWhole) {
  {
    auto writer = StartWriter(path_);
    ASSERT_OK(writer);
    const auto id = (*writer)->BeginMigration(kNew);
    ASSERT_OK(id);
    ASSERT_OK((*writer)->AddLatents(*id, VersionId{1}, 0, MakeLatents(kNew.layout, {2}, 10)));
    EXPECT_EQ((*writer)->FinishMigration().code(), StatusCode::kFailedPrecondition);
    ASSERT_OK((*writer)->CommitLatents());
  }
  EXPECT_THAT(Names(path_), ElementsAre("new*", "old"));
  ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path_, kOld));
  const int64_t revision = Revision();
  // Goes on where it was, and what was read before can still be read.
  const auto before = Bank::Open(path_);
  const auto reader = (*before)->Latest();
  const EncodingId old = (*reader)->Encodings()->back().info.id;
  const auto keys = (*reader)->RoutingKeys(old);
  ASSERT_OK(keys);
  ASSERT_OK(Migrate(path_, kNew));
  EXPECT_THAT(Names(path_), ElementsAre("new"));
  ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path_, kNew));
  // Keys that were loaded stay; latents that were not are gone.
  EXPECT_EQ(keys->front().passages.front(), PassageId{0});
  EXPECT_NE(keys->front().keys[0], std::byte{0xff});
  EXPECT_EQ((*reader)->ReadLatents(old, PassageId{0}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Revision(), revision);
}

TEST_F(MigrationTest, TheOldLatentsLeaveTheDisk) {
  const int64_t rows = 2 * 2 * kDocuments;
  const auto bytes = [&](const EncodingInfo& e) {
    return rows * (e.layout.key_row_bytes() + e.layout.latent_row_bytes());
  };
  ASSERT_OK(Migrate(path_, kNew));
  const int64_t after = SegmentBytes();
  EXPECT_GE(after, bytes(kNew));
  ASSERT_OK(Migrate(path_, kOld));
  ASSERT_OK(Migrate(path_, kNew));
  EXPECT_EQ(SegmentBytes(), after);
}

TEST_F(MigrationTest, AnotherTargetDropsWhatTheFirstHasMade) {
  auto writer = StartWriter(path_);
  ASSERT_OK(writer);
  const auto id = (*writer)->BeginMigration(kNew);
  ASSERT_OK(id);
  ASSERT_OK((*writer)->AddLatents(*id, VersionId{1}, 0, MakeLatents(kNew.layout, {2}, 10)));
  ASSERT_OK((*writer)->CommitLatents());
  EncodingInfo other = kNew;
  other.fingerprint = "other";
  ASSERT_OK((*writer)->BeginMigration(other));
  EXPECT_THAT(Names(path_), ElementsAre("other*", "old"));
  // Back to the one that answers: nothing is under way, and nothing to finish.
  ASSERT_OK((*writer)->BeginMigration(kOld));
  ASSERT_OK((*writer)->FinishMigration());
  EXPECT_THAT(Names(path_), ElementsAre("old"));
  ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path_, kOld));
}

TEST_F(MigrationTest, ABankWithoutLatentsGetsItsFirst) {
  const std::string path = folder_ / "empty";
  ASSERT_OK(Bank::Create(path, {}));
  ASSERT_OK(Migrate(path, kNew));
  EXPECT_THAT(Names(path), ElementsAre("new"));
}

TEST_F(MigrationTest, DocumentsCanBeAddedOnTheWay) {
  {
    auto writer = StartWriter(path_);
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->BeginMigration(kNew));
    ASSERT_OK((*writer)->Remove("k3"));
    ASSERT_OK((*writer)->Add(MakeDocument("k4", "", "one two", 2)));
    EXPECT_EQ((*writer)->BeginMigration(kNew).status().code(), StatusCode::kFailedPrecondition);
    ASSERT_OK((*writer)->Commit("more"));
    const auto old = (*writer)->OpenEncoding(kOld);
    ASSERT_OK(old);
    ASSERT_OK(EncodeAll(**writer, path_, *old, kOld));
  }
  ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path_, kOld));
  ASSERT_OK(Migrate(path_, kNew));
  ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path_, kNew));
}

TEST_F(MigrationTest, TheChainSaysWhereTheBankMoved) {
  ASSERT_OK(Migrate(path_, kNew));
  {
    auto catalog = Catalog::Open(path_ + "/catalog.sqlite", Catalog::Access::kWrite);
    ASSERT_OK(catalog);
    ASSERT_OK(catalog->db().Execute("UPDATE encodings SET fingerprint = 'forged'"));
  }
  const auto bank = Bank::Open(path_);
  const auto audit = (*bank)->Audit();
  EXPECT_EQ(audit.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(audit.status().message(), HasSubstr("encoding"));
}

TEST(Migration, PowerLostAtAnyWriteOrSyncLeavesOneOrTheOther) {
  TemporaryFolder original;
  ASSERT_OK(Make(original / "bank"));
  bool finished = false;
  int64_t stopped = 0;
  for (int64_t fail_at = 0; !finished; ++fail_at) {
    SCOPED_TRACE("stopped at operation " + std::to_string(fail_at));
    TemporaryFolder folder;
    const std::string path = folder / "bank";
    std::filesystem::copy(original / "bank", path, std::filesystem::copy_options::recursive);
    FaultFileSystem fs(fail_at);
    const Status status = Migrate(path, kNew, fs);
    finished = !fs.failed();
    stopped += !finished;
    ASSERT_TRUE(status.ok() || !finished) << status;
    fs.LosePower();
    const std::vector<std::string> names = Names(path);
    ASSERT_THAT(names, testing::Not(IsEmpty()));
    ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path, names.back() == "new" ? kNew : kOld));
    EXPECT_TRUE(!status.ok() || names.back() == "new");
    // The next one goes on to the end.
    ASSERT_OK(Migrate(path, kNew));
    EXPECT_THAT(Names(path), ElementsAre("new"));
    ASSERT_NO_FATAL_FAILURE(ExpectAnswers(path, kNew));
  }
  EXPECT_GT(stopped, 20);
}

}  // namespace
}  // namespace msa
