// An audit passes a sound bank and names what was changed behind the bank's back.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <random>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/catalog.h"
#include "msa/bank/core.h"
#include "msa/bank/signing.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};

class AuditTest : public testing::Test {
 protected:
  // A history of every kind: replaced and removed documents, labels, a revision that went back,
  // latents in a sealed segment and in a tail.
  void SetUp() override {
    path_ = folder_ / "bank";
    ASSERT_OK(Bank::Create(path_, {.encrypt = is_encrypted()}));
    auto core = OpenCore(path_, PosixFileSystem());
    ASSERT_OK(core);
    // Sealed after the second version's latents; messages are longer.
    auto writer = Writer::Start(*core, {.author = "Ana"}, is_encrypted() ? 1600 : 900);
    ASSERT_OK(writer);
    const auto encoding = (*writer)->OpenEncoding({{}, "feed", "{}", kLayout});
    ASSERT_OK(encoding);
    for (int i = 0; i < 4; ++i) {
      NewDocument document = MakeDocument("k" + std::to_string(i), "title", Text(i), 2);
      document.labels = {{"tenant", "t" + std::to_string(i)}};
      ASSERT_OK((*writer)->Add(document));
    }
    ASSERT_OK((*writer)->Commit("one"));
    for (int64_t version = 1; version <= 3; ++version) {
      ASSERT_OK((*writer)->AddLatents(*encoding, VersionId{version}, 0,
                                      MakeLatents(kLayout, {2, 3}, version)));
      ASSERT_OK((*writer)->CommitLatents());
    }
    ASSERT_OK((*writer)->Add(MakeDocument("k1", "title", "changed", 1)));
    ASSERT_TRUE(*(*writer)->Remove("k2"));
    ASSERT_OK((*writer)->Add(MakeDocument("brief", "title", "came", 1)));
    ASSERT_TRUE(*(*writer)->Remove("brief"));
    ASSERT_OK((*writer)->Commit("two"));
    ASSERT_OK((*writer)->Revert(RevisionId{1}, "back"));
    ASSERT_OK((*writer)->Add(MakeDocument("k5", "title", "five", 1)));
    ASSERT_OK((*writer)->Commit("four"));
    const auto names = PosixFileSystem().List(path_ + "/segments");
    ASSERT_OK(names);
    ASSERT_EQ(names->size(), 2u) << "a tail and a segment";
  }

  virtual bool is_encrypted() const { return false; }
  virtual Result<AuditReport> Audit(std::optional<std::string_view> anchor = std::nullopt) {
    MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path_));
    return bank->Audit(anchor);
  }

  static std::string Text(int i) { return "some words of document number " + std::to_string(i); }

  Result<std::string> Certify() {
    MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path_));
    MSA_ASSIGN_OR_RETURN(const auto writer, bank->StartWrite());
    return writer->Certify(folder_ / "keys/signing.key");
  }
  void Execute(const std::string& sql) {
    auto db = Database::Open(path_ + "/catalog.sqlite", SQLITE_OPEN_READWRITE);
    ASSERT_OK(db);
    ASSERT_OK(db->Execute(sql.c_str()));
  }
  // Copies the bank, changes it, expects the audit to fail, and brings it back.
  template <class F>
  void ExpectFound(const std::string& what, F change) {
    SCOPED_TRACE(what);
    std::filesystem::copy(path_, folder_ / "kept", std::filesystem::copy_options::recursive);
    change();
    const auto report = Audit();
    EXPECT_FALSE(report.ok()) << "not found";
    EXPECT_FALSE(report.status().message().empty());
    std::filesystem::remove_all(path_);
    std::filesystem::rename(folder_ / "kept", path_);
  }

  // Changes rows and columns that are in plain in every bank, one after another.
  void ExpectChangesInPlainAreFound() {
    for (const char* sql : {
             "UPDATE versions SET birth = 2 WHERE id = 1",
             "UPDATE versions SET added = 5 WHERE id = 1",
             "UPDATE versions SET document = 2 WHERE id = 1",
             "UPDATE versions SET num_passages = 1 WHERE id = 1",
             "UPDATE versions SET num_tokens = 1 WHERE id = 1",
             "UPDATE versions SET first_passage = 1 WHERE id = 1",
             "UPDATE versions SET position = 65 WHERE id = 1",
             "DELETE FROM versions WHERE id = 1",
             "DELETE FROM versions WHERE id = 7",
             "DELETE FROM deaths",
             "DELETE FROM deaths WHERE version = 3",
             "INSERT INTO deaths VALUES(1, 4)",
             "UPDATE deaths SET revision = 4 WHERE version = 3",
             "UPDATE documents SET number = zeroblob(16) WHERE id = 1",
             "UPDATE revisions SET time = 5 WHERE id = 2",
             "UPDATE revisions SET kind = 3 WHERE id = 2",
             "UPDATE revisions SET parent = 2 WHERE id = 3",
             "UPDATE revisions SET documents = 1 WHERE id = 2",
             "DELETE FROM revisions WHERE id = 2",
             "DELETE FROM chain WHERE seq = 3",
             "UPDATE chain SET commitment = zeroblob(32) WHERE seq = 3",
             "UPDATE state SET revision = 3",
             "UPDATE state SET erase_epoch = 1",
             "UPDATE places SET checksum = 1 WHERE version = 3",
             "DELETE FROM places WHERE version = 1",
             "DELETE FROM shards",
             "UPDATE files SET length = length - 1 WHERE kind = 1",
             "UPDATE files SET checksum = 1 WHERE kind = 3",
             "UPDATE files SET checksum = 1 WHERE kind = 4",
             "UPDATE versions SET checksum = 1 WHERE id = 1",
             "INSERT INTO labels VALUES(x'00', 99)",
         }) {
      ExpectFound(sql, [&] { Execute(sql); });
    }
  }

  // Damages bits of packs, tails, segments and shards, one after another; an audit must name the
  // file.
  void ExpectFlippedBitsAreFound() {
    std::mt19937 random(7);
    for (const char* folder : {"packs", "segments", "lexical"}) {
      const auto names = PosixFileSystem().List(path_ + "/" + folder);
      ASSERT_OK(names);
      for (const std::string& name : *names) {
        const std::string file = path_ + "/" + folder + "/" + name;
        const std::string sound = ReadFile(file).value();
        for (int i = 0; i < 40; ++i) {
          std::string damaged = sound;
          const size_t offset = random() % sound.size();
          damaged[offset] ^= static_cast<char>(1 << (random() % 8));
          ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, damaged));
          const auto report = Audit();
          ASSERT_FALSE(report.ok()) << file << " byte " << offset;
          EXPECT_THAT(report.status().message(), HasSubstr(name));
        }
        ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, sound));
      }
    }
    ASSERT_OK(Audit());
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(AuditTest, SoundBankPasses) {
  const auto report = Audit();
  ASSERT_OK(report);
  EXPECT_EQ(report->revisions, 4);
  EXPECT_EQ(report->chain_entries, 4 + 1 + 4 + 1 + 1 + 2);
  EXPECT_EQ(report->chain_head.size(), 64u);
  EXPECT_GT(report->verified_bytes, 0);
}

TEST_F(AuditTest, EveryChangedRowIsFound) {
  for (const char* sql : {
           "UPDATE versions SET title = 'other' WHERE id = 1",
           "UPDATE versions SET source_path = '/elsewhere' WHERE id = 1",
           "UPDATE versions SET source_sha256 = 'x' WHERE id = 1",
           "UPDATE versions SET media_type = 'x' WHERE id = 1",
           "UPDATE versions SET labels = '{}' WHERE id = 1",
           "UPDATE versions SET text_hash = zeroblob(32) WHERE id = 1",
           "UPDATE versions SET salt = zeroblob(16) WHERE id = 1",
           "DELETE FROM labels WHERE version = 1",
           "INSERT INTO labels VALUES(x'00', 1)",
           "UPDATE documents SET key = 'other' WHERE id = 1",
           "UPDATE documents SET lookup = x'00' WHERE id = 1",
           "UPDATE revisions SET author = 'Eve' WHERE id = 2",
           "UPDATE revisions SET message = 'x' WHERE id = 2",
           "UPDATE revisions SET parent = 2 WHERE id = 4",
           "UPDATE revisions SET run_begin = 1 WHERE id = 4",
           "DELETE FROM chain WHERE seq = 13",
           "UPDATE chain SET time = 5 WHERE seq = 3",
           "UPDATE state SET chain_length = 3",
           "DELETE FROM places WHERE version = 3",
           "UPDATE shards SET passages = 1",
       }) {
    ExpectFound(sql, [&] { Execute(sql); });
  }
  ExpectChangesInPlainAreFound();
  ASSERT_OK(Audit());
}

TEST_F(AuditTest, EveryFlippedByteOfEveryFileIsFoundOrHarmless) { ExpectFlippedBitsAreFound(); }

TEST_F(AuditTest, HeadThatTheChainNeverHadIsFound) {
  const std::string sound = ReadFile(path_ + "/head").value();
  for (const size_t offset : {16u, 24u, 32u, 40u, 71u, 72u, 80u, 120u}) {
    for (const size_t slot : {0u, 4096u}) {
      std::string damaged = sound;
      damaged[slot + offset] ^= 1;
      ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/head", damaged));
      // The newer slot is gone then, and the older one is a state that the chain went through.
      const auto report = Audit();
      if (report.ok()) {
        EXPECT_EQ(report->revisions, 4);
      }
    }
  }
}

TEST_F(AuditTest, AnchorShowsThatTheChainGoesOn) {
  const auto certificate = Certify();
  ASSERT_OK(certificate);
  ASSERT_OK(Audit(*certificate));
  EXPECT_EQ(*Certify() == *certificate, false) << "another time";
  std::filesystem::copy(path_, folder_ / "older", std::filesystem::copy_options::recursive);
  {
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Add(MakeDocument("new", "title", "words")));
    ASSERT_OK((*writer)->Commit("five"));
  }
  const auto newer = Certify();
  ASSERT_OK(newer);
  ASSERT_OK(Audit(*certificate));
  ASSERT_OK(Audit(*newer));
  std::filesystem::remove_all(path_);
  std::filesystem::rename(folder_ / "older", path_);
  ASSERT_OK(Audit());  // a chain alone does not see a whole bank rolled back
  const auto rolled_back = Audit(*newer);
  EXPECT_EQ(rolled_back.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(rolled_back.status().message(), HasSubstr("rolled back"));

  const auto other = Bank::Create(folder_ / "other", {});
  ASSERT_OK(other);
  EXPECT_EQ((*other)->Audit(*certificate).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(AuditTest, ChangedCertificateIsRefused) {
  const auto certificate = Certify();
  ASSERT_OK(certificate);
  int refused = 0;
  for (size_t i = 0; i < certificate->size(); ++i) {
    if (std::isspace((*certificate)[i]) != 0) continue;
    std::string damaged = *certificate;
    damaged[i] ^= 1;
    const auto report = Audit(damaged);
    // A digit of a number in hex may change its case, which says the same.
    if (report.ok()) continue;
    ++refused;
  }
  EXPECT_GT(refused, 400);
  EXPECT_EQ(Audit("{}").status().code(), StatusCode::kInvalidArgument);
}

TEST_F(AuditTest, SigningKeyStaysOutsideAndPrivate) {
  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  EXPECT_EQ((*writer)->Certify(path_ + "/signing.key").status().code(),
            StatusCode::kFailedPrecondition);
  const std::string path = folder_ / "key";
  ASSERT_OK((*writer)->Certify(path));
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600);
  ::chmod(path.c_str(), 0644);
  EXPECT_THAT((*writer)->Certify(path).status().message(), HasSubstr("chmod 600"));
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path, "hello"));
  ::chmod(path.c_str(), 0600);
  EXPECT_EQ((*writer)->Certify(path).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ((*writer)->Commit("still usable")->value, 4);
}

// Of an encrypted bank, by somebody who has none of its keys.
class AuditWithoutKeysTest : public AuditTest {
 protected:
  bool is_encrypted() const override { return true; }
  Result<AuditReport> Audit(std::optional<std::string_view> anchor = std::nullopt) override {
    const ScopedVariable no_keyrings("MSA_KEYRINGS", folder_ / "none");
    const ScopedVariable no_master("MSA_MASTER_KEY_FILE", folder_ / "none");
    return Bank::AuditWithoutKeys(path_, anchor);
  }
  Result<AuditReport> AuditWithKeys() { return AuditTest::Audit(); }

 private:
  const KeysIn keys_{folder_};
};

TEST_F(AuditWithoutKeysTest, SoundBankPassesAndSaysWhatWasNotChecked) {
  const auto without = Audit();
  ASSERT_OK(without);
  EXPECT_EQ(without->unchecked.size(), 3u);
  const auto with = AuditWithKeys();
  ASSERT_OK(with);
  EXPECT_TRUE(with->unchecked.empty());
  EXPECT_EQ(without->revisions, with->revisions);
  EXPECT_EQ(without->chain_entries, with->chain_entries);
  EXPECT_EQ(without->chain_head, with->chain_head);
  EXPECT_EQ(without->verified_bytes, with->verified_bytes);

  const ScopedVariable no_keyrings("MSA_KEYRINGS", folder_ / "none");
  const auto refused = AuditWithKeys();
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("--without-keys"));
}

TEST_F(AuditWithoutKeysTest, ABankInPlainIsCheckedWhole) {
  const std::string plain = folder_ / "plain";
  ASSERT_OK(Bank::Create(plain, {}));
  const auto report = Bank::AuditWithoutKeys(plain);
  ASSERT_OK(report);
  EXPECT_TRUE(report->unchecked.empty());
}

TEST_F(AuditWithoutKeysTest, ChangedRowsThatAreInPlainAreFound) {
  ExpectChangesInPlainAreFound();
  ASSERT_OK(Audit());
}

TEST_F(AuditWithoutKeysTest, EveryFlippedByteOfEveryFileIsFound) { ExpectFlippedBitsAreFound(); }

TEST_F(AuditWithoutKeysTest, AnchorShowsThatTheChainGoesOn) {
  std::filesystem::copy(path_, folder_ / "older", std::filesystem::copy_options::recursive);
  const auto certificate = Certify();
  ASSERT_OK(certificate);
  ASSERT_OK(Audit(*certificate));
  std::filesystem::remove_all(path_);
  std::filesystem::rename(folder_ / "older", path_);
  ASSERT_OK(Audit());
  EXPECT_THAT(Audit(*certificate).status().message(), HasSubstr("rolled back"));
}

TEST_F(AuditWithoutKeysTest, WhatOnlyKeysTellIsLeftToThem) {
  for (const char* sql : {
           "UPDATE versions SET title = (SELECT title FROM versions WHERE id = 2) WHERE id = 1",
           "UPDATE documents SET lookup = x'00' WHERE id = 1",
           "UPDATE revisions SET author = message WHERE id = 1",
       }) {
    SCOPED_TRACE(sql);
    std::filesystem::copy(path_, folder_ / "kept", std::filesystem::copy_options::recursive);
    Execute(sql);
    EXPECT_TRUE(Audit().ok());
    EXPECT_FALSE(AuditWithKeys().ok());
    std::filesystem::remove_all(path_);
    std::filesystem::rename(folder_ / "kept", path_);
  }
}

}  // namespace
}  // namespace msa
