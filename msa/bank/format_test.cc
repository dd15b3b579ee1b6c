// Banks on disk that others wrote: the golden bank, folders that cannot be written, damage.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/certificate.h"
#include "msa/bank/core.h"
#include "msa/bank/golden_bank.h"
#include "msa/bank/head.h"
#include "msa/bank/rekey.h"
#include "msa/bank/sqlite.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

// Reads all of a bank that is not sound, and audits it.
void ExpectRefused(const std::string& path) {
  const auto bank = Bank::Open(path);
  if (!bank.ok()) return;
  EXPECT_FALSE((*bank)->Audit().ok());
  const auto snapshot = (*bank)->Latest();
  if (!snapshot.ok()) return;
  std::vector<VersionId> versions;
  const Status listed = (*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
    versions.push_back(info.version);
    return true;
  });
  for (const VersionId version : versions) (void)(*snapshot)->ReadContent(version);
  (void)(*snapshot)->SearchLexical("fox", 5, {});
  const auto encodings = (*snapshot)->Encodings();
  if (!encodings.ok()) return;
  for (const EncodingStats& encoding : *encodings) {
    (void)(*snapshot)->RoutingKeys(encoding.info.id);
    (void)(*snapshot)->FindUnencoded(encoding.info.id);
    for (int64_t p = 0; p < 4; ++p) {
      (void)(*snapshot)->ReadLatents(encoding.info.id, PassageId{p});
    }
  }
}

class FormatTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Unpack("bank-v1"));
    path_ = folder_ / "bank-v1";
  }

  void Unpack(const std::string& name) {
    const std::string unpack =
        "tar -xzf " MSA_SOURCE_DIR "/tests/data/" + name + ".tar.gz -C " + (folder_ / "");
    ASSERT_EQ(std::system(unpack.c_str()), 0);
  }

  void ExpectGolden(Bank& bank, RevisionId revision = RevisionId{2}) {
    const auto documents = GoldenDocuments();
    EXPECT_EQ(bank.options().passage_tokens, 128);
    const auto snapshot = *bank.Latest();
    EXPECT_EQ(snapshot->revision(), revision);
    EXPECT_EQ(snapshot->Stats()->documents, 3);
    for (const size_t i : {0, 2, 3}) {
      const NewDocument& document = documents[i];
      const auto info = snapshot->FindDocument(document.key);
      ASSERT_OK(info);
      EXPECT_EQ(info->title, document.title);
      EXPECT_EQ(info->labels, document.labels);
      EXPECT_EQ(info->media_type, document.media_type);
      const auto content = snapshot->ReadContent(info->version);
      ASSERT_OK(content);
      EXPECT_EQ(content->text, document.text);
      EXPECT_EQ(content->page_begin, document.page_begin);
      for (size_t p = 0; p < document.passages.size(); ++p) {
        EXPECT_EQ(content->passages[p].begin, document.passages[p].begin);
        EXPECT_EQ(content->passages[p].end, document.passages[p].end);
        EXPECT_EQ(content->tokens[p], document.passages[p].tokens);
      }
    }
    EXPECT_EQ(snapshot->SearchLexical("jumping", 5, {})->size(), 1u);
    EXPECT_EQ(snapshot->SearchLexical("wine", 5, {})->size(), 0u);
    EXPECT_EQ(snapshot->SearchLexical("tea", 5, {})->size(), 1u);
    EXPECT_EQ(snapshot->SearchLexical("日本", 5, {})->size(), 1u);
    EXPECT_EQ((*snapshot->MatchingPassages({{"tenant", "acme"}}))->kept.size(), 2);
    ExpectGoldenLatents(*snapshot, 0, kGoldenSealed, DType::kI8, bank.options().encrypt);
    ExpectGoldenLatents(*snapshot, 1, kGoldenTail, DType::kF32, bank.options().encrypt);
  }

  void ExpectGoldenLatents(const Snapshot& snapshot, size_t index, const char* fingerprint,
                           DType dtype, bool is_sealed) {
    LatentLayout layout = GoldenLayout(dtype);
    layout.is_sealed = is_sealed;
    const auto encodings = snapshot.Encodings();
    ASSERT_OK(encodings);
    const EncodingStats& encoding = encodings->at(index);
    EXPECT_EQ(encoding.info.fingerprint, fingerprint);
    EXPECT_EQ(encoding.info.layout, layout);
    EXPECT_EQ(encoding.latents, 4);
    const auto runs = snapshot.RoutingKeys(encoding.info.id);
    ASSERT_OK(runs);
    ASSERT_EQ(runs->size(), 1u);
    EXPECT_THAT((*runs)[0].chunk_begin, testing::ElementsAre(0, 1, 3, 4));
    const struct {
      int64_t passage, chunks, seed;
    } blocks[] = {{0, 1, 1}, {1, 2, 2}, {3, 1, 3}};
    for (const auto& [passage, chunks, seed] : blocks) {
      const auto block = snapshot.ReadLatents(encoding.info.id, PassageId{passage});
      ASSERT_OK(block);
      const LatentBlock expected = GoldenLatents(layout, chunks, seed);
      EXPECT_EQ(block->keys, expected.keys);
      EXPECT_EQ(block->latents, expected.latents);
      EXPECT_EQ(block->key_scales, expected.key_scales);
      EXPECT_EQ(block->latent_scales, expected.latent_scales);
    }
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(FormatTest, EveryBuildOpensVersion1) {
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  ExpectGolden(**bank);
}

TEST_F(FormatTest, EveryBuildAuditsVersion1) {
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  const auto report = (*bank)->Audit();
  ASSERT_OK(report);
  EXPECT_EQ(report->chain_entries, 6);
}

TEST_F(FormatTest, EveryBuildWritesToVersion1) {
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  EXPECT_EQ(*(*writer)->Add(GoldenDocuments()[0]), AddOutcome::kUnchanged);
  EXPECT_EQ(*(*writer)->Add(MakeDocument("new", "New", "words")), AddOutcome::kAdded);
  EXPECT_EQ((*writer)->Commit("more")->value, 3);
}

// The encrypted golden bank, with its keyring and its master key.
class EncryptedFormatTest : public FormatTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Unpack("bank-v1-encrypted"));
    path_ = folder_ / "bank-v1-encrypted/bank";
  }

  const ScopedVariable keyrings_{"MSA_KEYRINGS", folder_ / "bank-v1-encrypted/keyrings"};
  const ScopedVariable master_file_{"MSA_MASTER_KEY_FILE",
                                    folder_ / "bank-v1-encrypted/master.key"};
  const ScopedVariable master_{"MSA_MASTER_KEY", ""};
};

TEST_F(EncryptedFormatTest, EveryBuildOpensAndAuditsVersion1) {
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  EXPECT_TRUE((*bank)->options().encrypt);
  ExpectGolden(**bank, RevisionId{4});
  const auto report = (*bank)->Audit();
  ASSERT_OK(report);
  EXPECT_EQ(report->erase_epoch, 1);
  std::vector<std::string> messages;
  ASSERT_OK((*bank)->Log(
      [&](const RevisionInfo& revision) { return messages.push_back(revision.message), true; }));
  EXPECT_THAT(messages,
              testing::ElementsAre("erased", "one too many", "another letter", "three documents"));
}

TEST_F(EncryptedFormatTest, EveryBuildReadsTheKeyringOfVersion1) {
  const auto core = OpenCore(path_, PosixFileSystem());
  ASSERT_OK(core);
  Keyring& keyring = (*core)->cipher->keyring();
  const auto db = Database::Open(path_ + "/catalog.sqlite", SQLITE_OPEN_READONLY);
  ASSERT_OK(db);
  auto numbers = db->Prepare("SELECT number FROM chain WHERE operation = ?1 ORDER BY seq");
  ASSERT_OK(numbers);
  for (const auto& [operation, is_destroyed] :
       {std::pair(ChainOperation::kAdd, false), std::pair(ChainOperation::kErase, true)}) {
    numbers->Bind(static_cast<int64_t>(operation));
    ASSERT_TRUE(numbers->Step().value());
    RandomNumber number;
    std::ranges::copy(numbers->Blob(0), number.begin());
    EXPECT_EQ(keyring.IsDestroyed(number).value(), is_destroyed);
    EXPECT_EQ(keyring.Find(Keyring::Kind::kDocument, number)->has_value(), !is_destroyed);
    numbers->Reset();
  }
}

TEST_F(EncryptedFormatTest, EveryBuildWritesToVersion1AndChangesItsMasterKey) {
  const std::string next = folder_ / "next.key";
  ASSERT_OK(RekeyBank(path_, next));
  EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kFailedPrecondition);
  const ScopedVariable changed("MSA_MASTER_KEY_FILE", next);
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  ExpectGolden(**bank, RevisionId{4});
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  EXPECT_EQ(*(*writer)->Add(GoldenDocuments()[0]), AddOutcome::kUnchanged);
  EXPECT_EQ(*(*writer)->Add(GoldenErased()), AddOutcome::kErased);
  EXPECT_EQ(*(*writer)->Add(MakeDocument("new", "New", "words")), AddOutcome::kAdded);
  EXPECT_EQ((*writer)->Commit("more")->value, 5);
  ASSERT_OK((*bank)->Audit());
}

// Runs `f` in another process as a user who may not write; root may write anywhere. False if this
// process may not change its user.
template <class F>
bool AsOtherUser(F f) {
  constexpr int kCannot = 77;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(kCannot);
    f();
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannot) return false;
  EXPECT_EQ(status, 0);
  return true;
}

// Readable by all, writable by none.
void MakeReadOnly(const std::string& path) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    ::chmod(entry.path().c_str(), entry.is_directory() ? 0555 : 0444);
  }
  ::chmod(path.c_str(), 0555);
}

TEST_F(FormatTest, FolderThatCannotBeWrittenOpensForReading) {
  MakeReadOnly(path_);
  ::chmod((folder_ / "").c_str(), 0755);
  const bool done = AsOtherUser([&] {
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    EXPECT_TRUE((*bank)->read_only());
    ExpectGolden(**bank);
    ASSERT_OK((*bank)->Audit());
    EXPECT_EQ((*bank)->StartWrite().status().code(), StatusCode::kFailedPrecondition);
  });
  if (!done) GTEST_SKIP() << "this process may not become another user";
}

TEST_F(FormatTest, UncleanFolderThatCannotBeWrittenSaysWhatToDo) {
  {
    // A copy made while a writer has the bank open: its WAL holds commits.
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Add(MakeDocument("new", "New", "words")));
    ASSERT_OK((*writer)->Commit("more"));
    std::filesystem::copy(path_, folder_ / "copy", std::filesystem::copy_options::recursive);
  }
  std::filesystem::remove(folder_ / "copy/catalog.sqlite-shm");
  MakeReadOnly(folder_ / "copy");
  ::chmod((folder_ / "").c_str(), 0755);
  const bool done = AsOtherUser([&] {
    const auto bank = Bank::Open(folder_ / "copy");
    EXPECT_EQ(bank.status().code(), StatusCode::kFailedPrecondition) << bank.status();
    EXPECT_THAT(bank.status().message(), HasSubstr("where it can be written"));
  });
  if (!done) GTEST_SKIP() << "this process may not become another user";
}

TEST_F(FormatTest, LostWalIsNoticed) {
  {
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Add(MakeDocument("new", "New", "words")));
    ASSERT_OK((*writer)->Commit("more"));
    std::filesystem::copy(path_, folder_ / "copy", std::filesystem::copy_options::recursive);
  }
  ASSERT_OK(Bank::Open(folder_ / "copy"));
  std::filesystem::remove_all(folder_ / "copy2");
  std::filesystem::copy(path_, folder_ / "copy2", std::filesystem::copy_options::recursive);
  // The catalog of before, beside the head of after.
  ASSERT_EQ(std::system(("tar -xzf " MSA_SOURCE_DIR "/tests/data/bank-v1.tar.gz -C " +
                         (folder_ / "copy2") + " --strip-components=1 bank-v1/catalog.sqlite")
                            .c_str()),
            0);
  const auto bank = Bank::Open(folder_ / "copy2");
  EXPECT_EQ(bank.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(bank.status().message(), HasSubstr("lost or rolled back"));
}

TEST_F(FormatTest, NewerVersionAndCipherAskForANewerProgram) {
  const std::string sound = ReadFile(path_ + "/bank.json").value();
  std::string newer = sound;
  newer.replace(newer.find("\"version\": 1"), 12, "\"version\": 2");
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/bank.json", newer));
  EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kUnimplemented);
}

TEST_F(FormatTest, FlippedBytesOfBankJsonAreRefused) {
  const std::string sound = ReadFile(path_ + "/bank.json").value();
  for (size_t i = 0; i < sound.size(); ++i) {
    std::string damaged = sound;
    damaged[i] ^= 1;
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/bank.json", damaged));
    const auto bank = Bank::Open(path_);
    // White space may change to other white space or to a broken document, never to other values.
    if (bank.ok()) {
      EXPECT_EQ((*bank)->options().passage_tokens, 128);
    }
  }
}

// Rows that no writer makes: an error, not a crash, a hang or all the memory.
TEST_F(FormatTest, RowsThatNoWriterMakesAreRefused) {
  const std::string sound = ReadFile(path_ + "/catalog.sqlite").value();
  for (const char* change :
       {"UPDATE files SET length = -5",
        "UPDATE files SET encoding = NULL WHERE kind = 2",
        "UPDATE files SET encoding = NULL WHERE kind = 3",
        "UPDATE files SET kind = '2x'",
        "UPDATE files SET blocks = zeroblob(0), checksum = 0 WHERE kind = 4",
        "UPDATE state SET next_passage = -9223372036854775807",
        "UPDATE state SET revision = 9223372036854775807",
        "UPDATE revisions SET id = 1152921504606846976 WHERE id = 2",
        "UPDATE versions SET first_passage = 9223372036854775807 WHERE id = 3",
        "UPDATE versions SET num_passages = 0 WHERE id = 1",
        "UPDATE versions SET num_tokens = 9223372036854775807",
        "UPDATE versions SET position = 9223372036854775807",
        "UPDATE places SET first_passage = 9223372036854775807 WHERE version = 1 AND"
        " first_passage = 1",
        "UPDATE places SET position = 9223372036854775807",
        "UPDATE places SET num_chunks = 65535, chunks = x'ffff' WHERE version = 3",
        "UPDATE encodings SET key_dim = 1048576; UPDATE places SET num_chunks = 65535,"
        " chunks = x'ffff' WHERE num_passages = 1",
        "UPDATE files SET blocks = x'0102' WHERE kind = 4",
        "UPDATE versions SET added = -9223372036854775807",
        "UPDATE shards SET end_passage = 9223372036854775807",
        "UPDATE shards SET first_passage = -9223372036854775807"}) {
    SCOPED_TRACE(change);
    {
      auto db = Database::Open(path_ + "/catalog.sqlite", SQLITE_OPEN_READWRITE);
      ASSERT_OK(db);
      ASSERT_OK(db->Execute(change));
    }
    ExpectRefused(path_);
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/catalog.sqlite", sound));
  }
}

TEST_F(FormatTest, VersionsWithNumbersThatNoWriterGaveAreNotCompacted) {
  for (const char* number : {"-9000000000000", "9000000000000"}) {
    SCOPED_TRACE(number);
    const std::string copy = path_ + number;
    std::filesystem::copy(path_, copy, std::filesystem::copy_options::recursive);
    {
      auto db = Database::Open(copy + "/catalog.sqlite", SQLITE_OPEN_READWRITE);
      ASSERT_OK(db);
      const std::string change = std::string("UPDATE versions SET id = ") + number;
      ASSERT_OK(db->Execute((change + " WHERE id = 3").c_str()));
    }
    const auto bank = Bank::Open(copy);
    ASSERT_OK(bank);
    const auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    const auto compacted = (*writer)->Compact(Retention{.text_days = 0, .latents_days = 0});
    EXPECT_EQ(compacted.status().code(), StatusCode::kDataLoss);
  }
}

TEST_F(FormatTest, DeepJsonIsRefused) {
  constexpr size_t kDepth = 30000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/bank.json",
                                R"({"format":"msa-bank","version":1,"a":)" + deep + "}"));
  EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kDataLoss);
  EXPECT_FALSE(Certificate::Parse(R"({"format":"msa-certificate","version":)" + deep + "}").ok());
}

// Whatever single byte of the catalog, a pack or a shard changes: an error or the right text.
TEST_F(FormatTest, FlippedBytesGiveErrorsOrTheTruth) {
  std::mt19937 random(5);
  std::vector<std::string> files = {path_ + "/catalog.sqlite"};
  for (const char* folder : {"/packs", "/lexical"}) {
    const auto names = PosixFileSystem().List(path_ + folder);
    ASSERT_OK(names);
    for (const std::string& name : *names) files.push_back(path_ + folder + "/" + name);
  }
  const auto documents = GoldenDocuments();
  for (const std::string& file : files) {
    const std::string sound = ReadFile(file).value();
    const size_t step = std::max<size_t>(1, sound.size() / 150);
    for (size_t offset = random() % step; offset < sound.size(); offset += step) {
      SCOPED_TRACE(file + " byte " + std::to_string(offset));
      std::string damaged = sound;
      damaged[offset] ^= static_cast<char>(1 << (random() % 8));
      ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, damaged));
      const auto bank = Bank::Open(path_);
      if (!bank.ok()) continue;
      const auto snapshot = (*bank)->Latest();
      if (!snapshot.ok()) continue;
      const auto info = (*snapshot)->FindDocument("fox.txt");
      if (info.ok() && info->key == "fox.txt") {
        const auto content = (*snapshot)->ReadContent(info->version);
        if (content.ok()) {
          EXPECT_EQ(content->text, documents[0].text);
        }
      }
      const auto hits = (*snapshot)->SearchLexical("fox", 5, {});
      const auto encodings = (*snapshot)->Encodings();
      if (!encodings.ok()) continue;
      for (const EncodingStats& encoding : *encodings) {
        const auto runs = (*snapshot)->RoutingKeys(encoding.info.id);
        const auto block = (*snapshot)->ReadLatents(encoding.info.id, PassageId{0});
      }
    }
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, sound));
  }
}

}  // namespace
}  // namespace msa
