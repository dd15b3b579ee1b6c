// A damaged bank comes back: what is not damaged is as it was, and what is lost is named.
#include "msa/bank/repair.h"

#include <gmock/gmock.h>

#include <map>
#include <random>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};
constexpr int64_t kSmallSeal = 1400;  // of seven blocks
constexpr int64_t kRevisions = 5;

std::string TextOf(const std::string& key) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "word" + key + std::to_string(i) + " ";
  return text;
}

LatentBlock LatentsOf(int64_t version, int64_t passage) {
  return MakeLatents(kLayout, {2}, version * 10 + passage);
}

// Revisions 1 to 4 add two documents each, in a lexical shard of their own, with latents: some
// sealed, some in a tail. The second also replaces the first document of the first, the third
// removes the second. Revision 5 goes back to 3.
Status Make(const std::string& path) {
  MSA_RETURN_IF_ERROR(Bank::Create(path, {}).status());
  MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path, PosixFileSystem()));
  MSA_ASSIGN_OR_RETURN(auto writer, Writer::Start(core, {}, kSmallSeal));
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding,
                       writer->OpenEncoding({{}, "feed", "{}", kLayout}));
  int64_t version = 1;
  for (const std::string names : {"ab", "cd", "ef", "gh"}) {
    int64_t added = 2;
    for (const char name : names) {
      const std::string key(1, name);
      NewDocument document = MakeDocument(key, "title" + key, TextOf(key), 2);
      document.labels = {{"owner", key}};
      MSA_RETURN_IF_ERROR(writer->Add(document).status());
    }
    if (names == "cd") {
      MSA_RETURN_IF_ERROR(writer->Add(MakeDocument("a", "titlea", TextOf("aa"), 2)).status());
      ++added;
    }
    if (names == "ef") MSA_RETURN_IF_ERROR(writer->Remove("b").status());
    MSA_RETURN_IF_ERROR(writer->Commit(names).status());
    for (const int64_t end = version + added; version < end; ++version) {
      for (int64_t passage = 0; passage < 2; ++passage) {
        MSA_RETURN_IF_ERROR(
            writer->AddLatents(encoding, VersionId{version}, passage, LatentsOf(version, passage)));
        MSA_RETURN_IF_ERROR(writer->CommitLatents());
      }
    }
  }
  return writer->Revert(RevisionId{3}, "back").status();
}

// Text by key, of each revision; of a text that is not kept, empty.
using Documents = std::map<std::string, std::string>;

Documents ReadAt(Bank& bank, int64_t revision) {
  Documents documents;
  const auto snapshot = bank.At(RevisionId{revision});
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  const Status read = (*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
    const auto content = (*snapshot)->ReadContent(info.version);
    EXPECT_EQ(content.ok(), info.text_kept) << content.status();
    documents[info.key] = content.ok() ? content->text : "";
    return true;
  });
  EXPECT_TRUE(read.ok()) << read;
  return documents;
}

class RepairTest : public testing::Test {
 protected:
  void SetUp() override {
    sound_ = folder_ / "sound";
    path_ = folder_ / "bank";
    ASSERT_OK(Make(sound_));
    auto bank = Bank::Open(sound_);
    ASSERT_OK(bank);
    for (int64_t revision = 1; revision <= kRevisions; ++revision) {
      documents_.push_back(ReadAt(**bank, revision));
    }
    ASSERT_EQ(Files("segments").size(), 3u) << "sealed ones and a tail";
    Renew();
  }

  void Renew() {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(sound_, path_, std::filesystem::copy_options::recursive);
  }

  std::vector<std::string> Files(const std::string& folder) const {
    std::vector<std::string> files = PosixFileSystem().List(sound_ + "/" + folder).value();
    for (std::string& file : files) file = path_ + "/" + folder + "/" + file;
    return files;
  }

  static void Flip(const std::string& file, size_t byte) {
    std::string bytes = ReadFile(file).value();
    bytes[byte] ^= 1;
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), file, bytes));
  }

  // Everything but the files that opening a bank changes.
  static std::map<std::string, std::string> Bytes(const std::string& path) {
    std::map<std::string, std::string> bytes;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      const std::string name = entry.path().string();
      if (!entry.is_regular_file() || name.ends_with("lock") || name.ends_with("-shm")) continue;
      if (entry.file_size() > 0) bytes[name] = ReadFile(name).value();
    }
    return bytes;
  }

  // The bank passes an audit, and all that `report` does not name is as it was.
  void ExpectRepaired(const RepairReport& report) {
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    ASSERT_OK((*bank)->Audit());
    std::map<std::string, int64_t> lost;  // texts, by key
    Documents latest = documents_.back();
    for (const RepairReport::Text& text : report.texts) {
      ++lost[text.document];
      if (text.is_latest) latest.erase(text.document);
    }
    for (int64_t revision = 1; revision <= kRevisions; ++revision) {
      Documents expected = documents_[static_cast<size_t>(revision - 1)];
      for (auto& [key, text] : ReadAt(**bank, revision)) {
        EXPECT_TRUE(text == expected[key] || (text.empty() && lost.contains(key))) << key;
        expected.erase(key);
      }
      EXPECT_THAT(expected, IsEmpty());
    }
    EXPECT_EQ(ReadAt(**bank, report.revision.value), latest);
    EXPECT_EQ(report.revision.value, latest == documents_.back() ? kRevisions : kRevisions + 1);
    const auto snapshot = (*bank)->Latest();
    ASSERT_OK(snapshot);
    ExpectFound(**snapshot, latest);
    ExpectLatents(**snapshot, report.latent_passages);
    const auto again = RepairBank(path_);
    ASSERT_OK(again);
    EXPECT_TRUE(again->is_sound());
  }

  static void ExpectFound(const Snapshot& snapshot, const Documents& documents) {
    for (const auto& [key, text] : documents) {
      const auto hits = snapshot.SearchLexical(text.substr(0, text.find(' ')), 3, {});
      ASSERT_OK(hits);
      EXPECT_EQ(hits->size(), 1u) << key;
    }
  }

  // Latents that are there are those of their passage, and no more are missing than was said.
  static void ExpectLatents(const Snapshot& snapshot, int64_t dropped) {
    const auto encodings = snapshot.Encodings();
    ASSERT_OK(encodings);
    const auto passages = snapshot.MatchingPassages({});
    ASSERT_OK(passages);
    int64_t missing = 0;
    for (const PassageId passage : (*passages)->kept.Members()) {
      const auto latents = snapshot.ReadLatents(encodings->front().info.id, passage);
      if (!latents.ok()) {
        EXPECT_EQ(latents.status().code(), StatusCode::kNotFound) << latents.status();
        ++missing;
        continue;
      }
      const auto address = snapshot.FindPassage(passage);
      ASSERT_OK(address);
      EXPECT_EQ(latents->latents, LatentsOf(address->version.value, address->index).latents);
    }
    EXPECT_LE(missing, dropped);
  }

  std::string sound_;
  std::string path_;
  std::vector<Documents> documents_;  // of revision 1 on
  TemporaryFolder folder_;
};

TEST_F(RepairTest, ASoundBankIsLeftAlone) {
  const auto before = Bytes(path_);
  const auto report = RepairBank(path_);
  ASSERT_OK(report);
  EXPECT_TRUE(report->is_sound());
  EXPECT_TRUE(Bytes(path_) == before);
}

TEST_F(RepairTest, DropsExactlyWhatIsDamaged) {
  // The frame of e, the fifth version; no other.
  auto catalog = Catalog::Open(path_ + "/catalog.sqlite", Catalog::Access::kRead);
  ASSERT_OK(catalog);
  const auto version = catalog->FindVersion(VersionId{6});
  ASSERT_OK(version);
  ASSERT_EQ((*version)->info.key, "e");
  Flip(Files("packs").front(), static_cast<size_t>((*version)->frame.position + 5));
  const auto report = RepairBank(path_);
  ASSERT_OK(report);
  ASSERT_EQ(report->texts.size(), 1u);
  EXPECT_EQ(report->texts[0].document, "e");
  EXPECT_TRUE(report->texts[0].is_latest);
  EXPECT_EQ(report->latent_passages, 2) << "without its text it needs none";
  EXPECT_EQ(report->shards, 0);
  ExpectRepaired(*report);
  // It can be added again.
  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  EXPECT_EQ(*(*writer)->Add(MakeDocument("e", "titlee", TextOf("e"), 2)), AddOutcome::kAdded);
  ASSERT_OK((*writer)->Commit("again"));
  ASSERT_OK((*bank)->Audit());
}

TEST_F(RepairTest, MakesShardsAnewAndKeepsTheOtherLatents) {
  for (const std::string& shard : Files("lexical")) Flip(shard, 5000);
  Flip(Files("segments").front(), std::filesystem::file_size(Files("segments").front()) - 1);
  const auto report = RepairBank(path_);
  ASSERT_OK(report);
  EXPECT_THAT(report->texts, IsEmpty());
  EXPECT_EQ(report->shards, static_cast<int64_t>(Files("lexical").size()));
  EXPECT_GT(report->latent_passages, 0);
  EXPECT_FALSE(report->lost_anything());
  ExpectRepaired(*report);
}

TEST_F(RepairTest, AnyDamageOfFilesIsRepairedOrNamed) {
  std::mt19937 random(11);
  std::vector<std::string> files = {path_ + "/head"};
  for (const char* folder : {"packs", "segments", "lexical"}) {
    for (const std::string& file : Files(folder)) files.push_back(file);
  }
  int64_t with_loss = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    Renew();
    for (unsigned damages = 1 + random() % 3; damages > 0; --damages) {
      const std::string& file = files[random() % files.size()];
      if (!std::filesystem::exists(file)) continue;
      const size_t size = std::filesystem::file_size(file);
      const unsigned kind = random() % 10;
      if (kind < 6 && size > 0) {
        Flip(file, random() % size);
      } else if (kind < 8) {
        std::filesystem::resize_file(file, random() % (size + 1));
      } else {
        std::filesystem::remove(file);
      }
    }
    const auto before = Bytes(path_);
    const auto dry = RepairBank(path_, {.dry_run = true, .author = ""});
    ASSERT_OK(dry);
    EXPECT_TRUE(Bytes(path_) == before) << "a dry run changes nothing";
    const auto report = RepairBank(path_);
    ASSERT_OK(report);
    EXPECT_EQ(report->texts.size(), dry->texts.size());
    EXPECT_EQ(report->latent_passages, dry->latent_passages);
    EXPECT_EQ(report->files, dry->files);
    EXPECT_EQ(report->head, dry->head);
    if (report->lost_anything()) ++with_loss;
    ASSERT_NO_FATAL_FAILURE(ExpectRepaired(*report));
  }
  EXPECT_GT(with_loss, 5);
}

TEST_F(RepairTest, ADamagedHeadIsMadeFromTheCatalog) {
  const std::string head = path_ + "/head";
  Flip(head, 20);
  Flip(head, 4096 + 20);
  EXPECT_EQ(Bank::Open(path_).status().code(), StatusCode::kDataLoss);
  auto report = RepairBank(path_);
  ASSERT_OK(report);
  EXPECT_TRUE(report->head);
  EXPECT_EQ(report->lost_commits, 0);
  ExpectRepaired(*report);
  std::filesystem::remove(head);
  report = RepairBank(path_);
  ASSERT_OK(report);
  ExpectRepaired(*report);
}

TEST_F(RepairTest, ACatalogThatWasRolledBackGoesOnFromWhereItIs) {
  // The catalog of before goes with the files of after.
  const std::string catalog = path_ + "/catalog.sqlite";
  std::filesystem::copy_file(catalog, folder_ / "older");
  {
    auto core = OpenCore(path_, PosixFileSystem());
    ASSERT_OK(core);
    auto writer = Writer::Start(*core, {}, kSmallSeal);
    ASSERT_OK(writer);
    const auto encoding = (*writer)->OpenEncoding({{}, "feed", "{}", kLayout});
    ASSERT_OK(encoding);
    for (int64_t version = 10; version < 16; ++version) {
      const std::string key = std::string("n").append(std::to_string(version));
      ASSERT_OK((*writer)->Add(MakeDocument(key, key, TextOf(key), 2)));
      ASSERT_OK((*writer)->Commit("more"));
      for (int64_t passage = 0; passage < 2; ++passage) {
        ASSERT_OK((*writer)->AddLatents(*encoding, VersionId{version}, passage,
                                        LatentsOf(version, passage)));
      }
      ASSERT_OK((*writer)->CommitLatents());
    }
    ASSERT_OK((*writer)->Erase({.documents = {"d"}, .where = {}}, "erase"));
  }
  std::filesystem::remove(catalog);
  std::filesystem::copy_file(folder_ / "older", catalog);
  EXPECT_THAT(Bank::Open(path_).status().message(), HasSubstr("lost or rolled back"));

  const auto report = RepairBank(path_);
  ASSERT_OK(report);
  EXPECT_GT(report->lost_commits, 6);
  EXPECT_TRUE(report->lost_erasures);
  ASSERT_EQ(report->texts.size(), 1u) << "what was overwritten does not come back";
  EXPECT_EQ(report->texts[0].document, "d");
  ExpectRepaired(*report);
  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Add(MakeDocument("z", "z", "goes on")));
  ASSERT_OK((*writer)->Commit("on"));
  ASSERT_OK((*bank)->Audit());
}

TEST_F(RepairTest, ADamagedCatalogIsRepairedOrLeftAsItIs) {
  std::mt19937 random(5);
  const std::string catalog = path_ + "/catalog.sqlite";
  int64_t refused = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    Renew();
    Flip(catalog, random() % std::filesystem::file_size(catalog));
    const auto report = RepairBank(path_);
    if (report.ok()) {
      ASSERT_NO_FATAL_FAILURE(ExpectRepaired(*report));
      continue;
    }
    ++refused;
    EXPECT_NE(report.status().code(), StatusCode::kOk);
    for (const std::string& file : Files("packs")) EXPECT_TRUE(std::filesystem::exists(file));
  }
  EXPECT_GT(refused, 5);
}

TEST_F(RepairTest, RowsThatTheChainDoesNotCommitToAreRefused) {
  {
    auto db = Database::Open(path_ + "/catalog.sqlite", SQLITE_OPEN_READWRITE);
    ASSERT_OK(db);
    ASSERT_OK(db->Execute("UPDATE versions SET title = 'other' WHERE id = 1"));
  }
  const auto report = RepairBank(path_);
  EXPECT_EQ(report.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(report.status().message(), HasSubstr("msa restore"));
}

TEST_F(RepairTest, AnErasureThatWaitsGoesOn) {
  {
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    auto snapshot = (*bank)->Latest();
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Erase({.documents = {"c"}, .where = {}}, "erase"));
  }
  for (const char* folder : {"lexical", "segments"}) {
    for (const auto& entry : std::filesystem::directory_iterator(path_ + "/" + folder)) {
      std::filesystem::remove(entry.path());
    }
  }
  ASSERT_OK(RepairBank(path_));
  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  ASSERT_OK((*bank)->Audit());
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  const auto report = (*writer)->Erase({}, "erase");
  ASSERT_OK(report);
  EXPECT_THAT(report->waits_for, IsEmpty());
  ASSERT_OK((*bank)->Audit());
}

TEST_F(RepairTest, PowerLostAtAnyWriteOrSyncCanBeRepairedAgain) {
  int64_t stopped = 0;
  for (int64_t fail_at = 0;; ++fail_at, ++stopped) {
    SCOPED_TRACE(testing::Message() << "operation " << fail_at);
    Renew();
    const std::string pack = Files("packs").front();
    Flip(pack, std::filesystem::file_size(pack) - 40);
    std::filesystem::remove(Files("segments").front());
    std::filesystem::resize_file(Files("lexical").front(), 4096);
    std::filesystem::remove(path_ + "/head");
    FaultFileSystem fs(fail_at);
    const auto report = RepairBank(path_, {}, fs);
    const bool failed = fs.failed();
    fs.LosePower();
    ASSERT_TRUE(report.ok() || failed) << report.status();
    const auto again = RepairBank(path_);
    ASSERT_OK(again);
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    ASSERT_OK((*bank)->Audit());
    // The last version, h, is lost, and nothing else.
    Documents latest = documents_[3];
    latest.erase("h");
    EXPECT_EQ(ReadAt(**bank, 4).at("h"), "");
    for (const auto& [key, text] : latest) EXPECT_EQ(ReadAt(**bank, 4).at(key), text);
    if (report.ok()) break;
  }
  EXPECT_GT(stopped, 20) << "it no longer writes what it should";
}

}  // namespace
}  // namespace msa
