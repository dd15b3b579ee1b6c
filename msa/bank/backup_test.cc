// Backups: whole or not at all, of one moment, without what was erased; and the way back.
#include "msa/bank/backup.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <map>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/everything.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};
constexpr int64_t kSmallSeal = 1200;

using Documents = std::map<std::string, std::string>;  // text by key

std::string TextOf(const std::string& key) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "word" + key + std::to_string(i) + " ";
  return text;
}

NewDocument DocumentOf(const std::string& key) {
  return MakeDocument(key, "title" + key, TextOf(key), 2);
}

// A writer whose tails are sealed early.
Result<std::unique_ptr<BankWriter>> StartWriter(const std::string& path,
                                                FileSystem& fs = PosixFileSystem()) {
  MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path, fs));
  return Writer::Start(std::move(core), {}, kSmallSeal);
}

Status AddLatentsOf(BankWriter& writer, EncodingId encoding, int64_t version) {
  for (int64_t passage = 0; passage < 2; ++passage) {
    MSA_RETURN_IF_ERROR(writer.AddLatents(encoding, VersionId{version}, passage,
                                          MakeLatents(kLayout, {2}, version * 10 + passage)));
    MSA_RETURN_IF_ERROR(writer.CommitLatents());
  }
  return OkStatus();
}

// Adds documents in a revision of their own, with latents. Versions are numbered from
// `first_version`.
Status Add(const std::string& path, const std::vector<std::string>& keys, int64_t first_version) {
  MSA_ASSIGN_OR_RETURN(const auto writer, StartWriter(path));
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding,
                       writer->OpenEncoding({{}, "feed", "{}", kLayout}));
  for (const std::string& key : keys) MSA_RETURN_IF_ERROR(writer->Add(DocumentOf(key)).status());
  MSA_RETURN_IF_ERROR(writer->Commit("add").status());
  for (size_t i = 0; i < keys.size(); ++i) {
    MSA_RETURN_IF_ERROR(AddLatentsOf(*writer, encoding, first_version + static_cast<int64_t>(i)));
  }
  return OkStatus();
}

Result<EraseReport> Erase(const std::string& path, const std::string& key) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path));
  MSA_ASSIGN_OR_RETURN(const auto writer, bank->StartWrite());
  return writer->Erase({.documents = {key}, .where = {}}, "erase");
}

// What a revision sees; the latest unless `at` is given.
Documents Read(const std::string& path, RevisionId at = {}) {
  Documents documents;
  auto bank = Bank::Open(path);
  EXPECT_TRUE(bank.ok()) << bank.status();
  if (!bank.ok()) return documents;
  const auto snapshot = at.valid() ? (*bank)->At(at) : (*bank)->Latest();
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  const Status read = (*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
    const auto content = (*snapshot)->ReadContent(info.version);
    EXPECT_TRUE(content.ok()) << content.status();
    documents[info.key] = content.ok() ? content->text : "";
    return true;
  });
  EXPECT_TRUE(read.ok()) << read;
  return documents;
}

Status Audit(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path));
  return bank->Audit().status();
}

class BackupTest : public testing::Test {
 protected:
  void SetUp() override {
    bank_ = folder_ / "bank";
    backup_ = folder_ / "backup";
    ASSERT_OK(Bank::Create(bank_, {}));
    ASSERT_OK(Add(bank_, {"a", "b", "c", "d"}, 1));
  }

  std::string bank_;
  std::string backup_;
  TemporaryFolder folder_;
};

TEST_F(BackupTest, IsABankAndTheNextCopiesOnlyWhatIsNew) {
  const auto first = BackupBank(bank_, backup_);
  ASSERT_OK(first);
  EXPECT_EQ(first->revision.value, 1);
  EXPECT_GT(first->copied_bytes, 0);
  EXPECT_EQ(first->kept_bytes, 0);
  ASSERT_OK(Audit(backup_));
  EXPECT_EQ(Read(backup_), Read(bank_));
  EXPECT_EQ(PosixFileSystem().List(backup_).value(), PosixFileSystem().List(bank_).value())
      << "no other files";

  const auto same = BackupBank(bank_, backup_);
  ASSERT_OK(same);
  EXPECT_EQ(same->copied_bytes, 0);
  EXPECT_EQ(same->kept_bytes, first->copied_bytes);

  ASSERT_OK(Add(bank_, {"e"}, 5));
  const auto more = BackupBank(bank_, backup_);
  ASSERT_OK(more);
  EXPECT_GT(more->copied_bytes, 0);
  EXPECT_LT(more->copied_bytes, first->copied_bytes);
  ASSERT_OK(Audit(backup_));
  EXPECT_EQ(Read(backup_), Read(bank_));
  // A copy of the folder could lie on a medium that cannot be written.
  EXPECT_FALSE(std::filesystem::exists(backup_ + "/catalog.sqlite-wal"));
}

TEST_F(BackupTest, WhatWasErasedGoesFromTheBackup) {
  ASSERT_OK(BackupBank(bank_, backup_));
  EXPECT_THAT(Everything(backup_), HasSubstr("wordb7"));
  ASSERT_OK(Add(bank_, {"e", "f"}, 5));
  ASSERT_OK(Erase(bank_, "b"));
  ASSERT_OK(Erase(bank_, "e"));
  ASSERT_OK(BackupBank(bank_, backup_));
  const std::string everything = Everything(backup_);
  for (const char* trace : {"wordb7", "titleb", "worde7", "titlee"}) {
    EXPECT_THAT(everything, Not(HasSubstr(trace)));
  }
  for (const int64_t version : {2, 5}) {
    const LatentBlock latents = MakeLatents(kLayout, {2}, version * 10);
    EXPECT_EQ(everything.find(AsChars(latents.latents)), everything.npos);
  }
  EXPECT_THAT(everything, HasSubstr("wordf7"));
  ASSERT_OK(Audit(backup_));
  EXPECT_EQ(Read(backup_), Read(bank_));
}

TEST_F(BackupTest, AnErasureThatWaitsIsFinishedByWhoeverWritesNext) {
  auto reader = Bank::Open(bank_);
  ASSERT_OK(reader);
  auto snapshot = (*reader)->Latest();
  const auto waits = Erase(bank_, "b");
  ASSERT_OK(waits);
  ASSERT_THAT(waits->waits_for, Not(IsEmpty()));
  ASSERT_OK(BackupBank(bank_, backup_));
  EXPECT_THAT(Everything(backup_), Not(HasSubstr("wordb7")));
  const auto restored = RestoreBank(backup_, folder_ / "restored");
  ASSERT_OK(restored);
  EXPECT_EQ(restored->erased, waits->numbers);
  ASSERT_OK(Audit(folder_ / "restored"));
}

TEST_F(BackupTest, LeavesAloneWhatIsNoBackupOfThisBank) {
  const auto expect_refused = [&](const std::string& folder, StatusCode code,
                                  const std::string& part) {
    const auto backup = BackupBank(bank_, folder);
    EXPECT_EQ(backup.status().code(), code) << backup.status();
    EXPECT_THAT(backup.status().message(), HasSubstr(part));
  };
  expect_refused(bank_ + "/inside", StatusCode::kInvalidArgument, "outside");
  expect_refused(bank_, StatusCode::kInvalidArgument, "outside");
  std::filesystem::create_directory(folder_ / "other");
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), folder_ / "other/letter.txt", "x"));
  expect_refused(folder_ / "other", StatusCode::kAlreadyExists, "letter.txt");
  ASSERT_OK(Bank::Create(folder_ / "another", {}));
  expect_refused(folder_ / "another", StatusCode::kFailedPrecondition, "another bank");
  expect_refused(folder_ / "no/parent", StatusCode::kNotFound, "no/parent");

  // The wrong way round: the live bank is ahead of its backup.
  ASSERT_OK(BackupBank(bank_, backup_));
  ASSERT_OK(Add(bank_, {"e"}, 5));
  const auto reversed = BackupBank(backup_, bank_);
  EXPECT_EQ(reversed.status().code(), StatusCode::kFailedPrecondition) << reversed.status();
  EXPECT_EQ(Read(bank_).size(), 5u);
  // Both went on, each by itself: by documents, and by latents only.
  ASSERT_OK(Add(backup_, {"x"}, 5));
  expect_refused(backup_, StatusCode::kFailedPrecondition, "does not continue");
  ASSERT_OK(BackupBank(bank_, folder_ / "second"));
  for (const std::string& path : {folder_ / "second", bank_}) {
    auto writer = StartWriter(path);
    ASSERT_OK(writer);
    const auto encoding = (*writer)->OpenEncoding({{}, path, "{}", kLayout});
    ASSERT_OK(encoding);
    ASSERT_OK((*writer)->AddLatents(*encoding, VersionId{1}, 0,
                                    MakeLatents(kLayout, {2}, path == bank_ ? 1 : 2)));
    ASSERT_OK((*writer)->CommitLatents());
  }
  ASSERT_OK(Add(bank_, {"g"}, 6));
  expect_refused(folder_ / "second", StatusCode::kFailedPrecondition, "does not continue");
}

TEST_F(BackupTest, DamageOfTheBankIsNotBackedUp) {
  ASSERT_OK(BackupBank(bank_, backup_));
  ASSERT_OK(Add(bank_, {"e"}, 5));
  const std::string pack = bank_ + "/packs/" + PosixFileSystem().List(bank_ + "/packs")->back();
  std::string bytes = ReadFile(pack).value();
  bytes[bytes.size() - 5] ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), pack, bytes));
  const auto backup = BackupBank(bank_, backup_);
  EXPECT_EQ(backup.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(backup.status().message(), HasSubstr(pack));
  ASSERT_OK(Audit(backup_));
  EXPECT_EQ(Read(backup_).size(), 4u) << "the backup before";
}

TEST_F(BackupTest, PowerLostAtAnyWriteOrSyncLeavesTheBackupBefore) {
  ASSERT_OK(BackupBank(bank_, folder_ / "old"));
  const Documents before = Read(bank_);
  ASSERT_OK(Add(bank_, {"e", "f"}, 5));
  ASSERT_OK(Erase(bank_, "b"));
  const Documents after = Read(bank_);
  for (const bool is_first : {true, false}) {
    int64_t stopped = 0;
    for (int64_t fail_at = 0;; ++fail_at, ++stopped) {
      SCOPED_TRACE(testing::Message() << "first " << is_first << ", operation " << fail_at);
      std::filesystem::remove_all(backup_);
      if (!is_first) {
        std::filesystem::copy(folder_ / "old", backup_, std::filesystem::copy_options::recursive);
      }
      FaultFileSystem fs(fail_at);
      const auto backup = BackupBank(bank_, backup_, {}, fs);
      const bool failed = fs.failed();
      fs.LosePower();
      ASSERT_TRUE(backup.ok() || failed) << backup.status();
      const auto bank = Bank::Open(backup_);
      if (is_first && !backup.ok()) {
        EXPECT_FALSE(bank.ok() && !std::filesystem::exists(backup_ + "/bank.json"));
      } else {
        ASSERT_OK(bank);
      }
      if (bank.ok()) {
        const Documents found = Read(backup_);
        EXPECT_TRUE(found == before || found == after);
        if (found == before) ASSERT_OK(Audit(backup_));
      }
      ASSERT_OK(BackupBank(bank_, backup_));
      ASSERT_OK(Audit(backup_));
      EXPECT_EQ(Read(backup_), after);
      EXPECT_THAT(Everything(backup_), Not(HasSubstr("wordb7")));
      EXPECT_FALSE(std::filesystem::exists(backup_ + "/backup.sqlite"));
      if (backup.ok()) break;
    }
    EXPECT_GT(stopped, 20) << "it no longer writes what it should";
  }
}

std::string KeyOf(int64_t number) { return std::string("k").append(std::to_string(number % 40)); }

// Adds, replaces and erases documents for ever, in commits that seal tails and merge shards.
[[noreturn]] void WriteForever(const std::string& path) {
  for (int64_t round = 0, version = 5;; ++round) {
    auto writer = StartWriter(path);
    if (!writer.ok()) ::_exit(2);
    const auto encoding = (*writer)->OpenEncoding({{}, "feed", "{}", kLayout});
    if (!encoding.ok()) ::_exit(3);
    for (int i = 0; i < 6; ++i) {
      const std::string key = KeyOf(round * 5 + i);
      NewDocument document = DocumentOf(key);
      document.title.append(" ").append(std::to_string(round));
      const auto added = (*writer)->Add(document);
      if (!added.ok()) ::_exit(4);
      if (!(*writer)->Commit("round").ok()) ::_exit(5);
      if (*added == AddOutcome::kErased || *added == AddOutcome::kUnchanged) continue;
      const auto status = AddLatentsOf(**writer, *encoding, version++);
      // Where the text is the same, the version has the latents of the one before.
      if (!status.ok() && status.code() != StatusCode::kAlreadyExists) ::_exit(6);
    }
    if (round % 3 != 2) continue;
    // Keys come again: what an earlier round has erased is not there.
    const auto erased = (*writer)->Erase({.documents = {KeyOf(round)}, .where = {}}, "e");
    if (!erased.ok() && erased.status().code() != StatusCode::kNotFound) ::_exit(7);
  }
}

TEST_F(BackupTest, IsOfOneMomentWhileAnotherProcessWrites) {
  const pid_t child = ::fork();
  if (child == 0) WriteForever(bank_);
  int64_t last = 0;
  std::vector<int64_t> revisions;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  while (std::chrono::steady_clock::now() < end) {
    const auto backup = BackupBank(bank_, backup_);
    ASSERT_OK(backup);
    EXPECT_GE(backup->revision.value, last);
    last = backup->revision.value;
    revisions.push_back(last);
    ASSERT_OK(Audit(backup_));
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the writer gave up with " << WEXITSTATUS(status);
  ASSERT_OK(BackupBank(bank_, backup_));
  for (const int64_t revision : revisions) {
    EXPECT_EQ(Read(backup_, RevisionId{revision}), Read(bank_, RevisionId{revision}));
  }
  EXPECT_GT(last, 10) << "the writer hardly wrote";
}

// --- restore ---

class RestoreTest : public BackupTest {
 protected:
  // Documents a to d are in the backup; b was erased since, and so was e, which it does not know.
  void SetUp() override {
    BackupTest::SetUp();
    restored_ = folder_ / "restored";
    ASSERT_OK(BackupBank(bank_, backup_));
    ASSERT_OK(Add(bank_, {"e"}, 5));
    ASSERT_OK(Erase(bank_, "e"));
    auto bank = Bank::Open(bank_);
    ASSERT_OK(bank);
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    const auto report = (*writer)->Erase({.documents = {"b"}, .where = {}}, "erase");
    ASSERT_OK(report);
    numbers_ = report->numbers;
    const auto certificate = (*writer)->Certify(folder_ / "key", numbers_);
    ASSERT_OK(certificate);
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), folder_ / "certificate", *certificate));
  }

  AddOutcome AddTo(const std::string& path, const std::string& key) {
    auto writer = StartWriter(path);
    EXPECT_TRUE(writer.ok()) << writer.status();
    const auto added = (*writer)->Add(DocumentOf(key));
    EXPECT_TRUE(added.ok()) << added.status();
    return added.ok() ? *added : AddOutcome::kUnchanged;
  }

  std::string restored_;
  std::vector<std::string> numbers_;
};

TEST_F(RestoreTest, BringsBackTheBackup) {
  const auto report = RestoreBank(backup_, restored_ + "/");
  ASSERT_OK(report);
  EXPECT_EQ(report->documents, 4);
  EXPECT_EQ(report->revision.value, 1);
  EXPECT_THAT(report->erased, IsEmpty());
  ASSERT_OK(Audit(restored_));
  EXPECT_EQ(Read(restored_), Read(backup_));
  EXPECT_FALSE(std::filesystem::exists(restored_ + ".restoring"));
  const auto again = RestoreBank(backup_, restored_);
  EXPECT_EQ(again.status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(RestoreBank(folder_ / "nowhere", folder_ / "x").status().code(), StatusCode::kNotFound);
}

TEST_F(RestoreTest, WhatTheBankErasedSinceStaysOut) {
  // Of the bank only the catalog is left.
  std::filesystem::remove_all(bank_ + "/packs");
  std::filesystem::remove(bank_ + "/head");
  RestoreOptions options;
  options.current = {bank_};
  const auto report = RestoreBank(backup_, restored_, options);
  ASSERT_OK(report);
  EXPECT_EQ(report->erased, numbers_);
  EXPECT_EQ(report->documents, 3);
  EXPECT_THAT(Everything(restored_), Not(HasSubstr("wordb7")));
  EXPECT_EQ(Read(restored_, RevisionId{1}).contains("b"), false) << "of no revision";
  EXPECT_EQ(AddTo(restored_, "b"), AddOutcome::kErased);
  EXPECT_EQ(AddTo(restored_, "e"), AddOutcome::kErased) << "though the backup did not know it";
  EXPECT_EQ(AddTo(restored_, "f"), AddOutcome::kAdded);
  // A certificate of the restored bank verifies.
  auto bank = Bank::Open(restored_);
  ASSERT_OK(bank);
  std::string certificate;
  {
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    const auto made = (*writer)->Certify(folder_ / "key", report->erased);
    ASSERT_OK(made);
    certificate = *made;
  }
  ASSERT_OK((*bank)->VerifyErased(certificate));
}

TEST_F(RestoreTest, CertificatesOfErasureDoTheSame) {
  RestoreOptions options;
  options.current = {folder_ / "certificate"};
  const auto report = RestoreBank(backup_, restored_, options);
  ASSERT_OK(report);
  EXPECT_EQ(report->erased, numbers_);
  EXPECT_THAT(Everything(restored_), Not(HasSubstr("wordb7")));
  EXPECT_EQ(AddTo(restored_, "b"), AddOutcome::kErased);
  ASSERT_OK(Audit(restored_));
}

TEST_F(RestoreTest, ReadmittedDocumentsComeBackByName) {
  RestoreOptions options;
  options.current = {bank_, folder_ / "certificate"};
  options.readmit = true;
  const auto report = RestoreBank(backup_, restored_, options);
  ASSERT_OK(report);
  EXPECT_THAT(report->readmitted, ElementsAre("b"));
  EXPECT_THAT(report->erased, IsEmpty());
  EXPECT_EQ(Read(restored_), Read(backup_));
}

TEST_F(RestoreTest, WhatSpeaksOfAnotherBankIsRefused) {
  ASSERT_OK(Bank::Create(folder_ / "another", {}));
  RestoreOptions options;
  options.current = {folder_ / "another"};
  EXPECT_THAT(RestoreBank(backup_, restored_, options).status().message(),
              HasSubstr("another bank"));
  options.current = {folder_ / "nothing"};
  EXPECT_EQ(RestoreBank(backup_, restored_, options).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(restored_));
}

TEST_F(RestoreTest, ADamagedBackupGivesNoBank) {
  for (const char* kind : {"packs", "segments", "lexical"}) {
    const std::string folder = backup_ + "/" + kind;
    const std::string file = folder + "/" + PosixFileSystem().List(folder)->front();
    const std::string sound = ReadFile(file).value();
    std::string damaged = sound;
    damaged[sound.size() / 2] ^= 1;
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, damaged));
    const auto report = RestoreBank(backup_, restored_);
    EXPECT_EQ(report.status().code(), StatusCode::kDataLoss) << kind;
    EXPECT_THAT(report.status().message(), HasSubstr(kind));
    EXPECT_FALSE(std::filesystem::exists(restored_));
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, sound));
  }
  ASSERT_OK(RestoreBank(backup_, restored_));
}

TEST_F(RestoreTest, PowerLostAtAnyWriteOrSyncLeavesAllOrNothing) {
  RestoreOptions options;
  options.current = {bank_};
  int64_t stopped = 0;
  for (int64_t fail_at = 0;; ++fail_at, ++stopped) {
    SCOPED_TRACE("operation " + std::to_string(fail_at));
    std::filesystem::remove_all(restored_);
    FaultFileSystem fs(fail_at);
    const auto report = RestoreBank(backup_, restored_, options, fs);
    const bool failed = fs.failed();
    fs.LosePower();
    ASSERT_TRUE(report.ok() || failed) << report.status();
    if (!std::filesystem::exists(restored_)) ASSERT_OK(RestoreBank(backup_, restored_, options));
    ASSERT_OK(Audit(restored_));
    EXPECT_EQ(Read(restored_).size(), 3u);
    EXPECT_THAT(Everything(restored_), Not(HasSubstr("wordb7")));
    if (report.ok()) break;
  }
  EXPECT_GT(stopped, 40) << "it no longer writes what it should";
}

}  // namespace
}  // namespace msa
