// What erasing leaves: nothing, and a proof of it.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/everything.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};
constexpr int64_t kSmallSeal = 1200;

// Words of a document, none of them in another.
std::string TextOf(const std::string& key) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "word" + key + std::to_string(i) + " ";
  return text;
}

// Floats that belong to one passage of one version.
LatentBlock LatentsOf(int64_t version, int64_t passage) {
  LatentBlock block = MakeLatents(kLayout, {2}, version * 10 + passage);
  const float value = 1000.0f + static_cast<float>(version * 10 + passage);
  auto* floats = reinterpret_cast<float*>(block.latents.data());
  std::fill_n(floats, block.latents.size() / sizeof(float), value);
  return block;
}

class ErasureTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = folder_ / "bank";
    ASSERT_OK(Make(path_));
  }

  // Documents a to f; b replaced and c removed since; latents of all versions, some sealed.
  static Status Make(const std::string& path) {
    MSA_RETURN_IF_ERROR(Bank::Create(path, {}).status());
    MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path, PosixFileSystem()));
    MSA_ASSIGN_OR_RETURN(auto writer, Writer::Start(core, {}, kSmallSeal));
    MSA_ASSIGN_OR_RETURN(const EncodingId encoding,
                         writer->OpenEncoding({{}, "feed", "{}", kLayout}));
    for (const std::string key : {"a", "b", "c", "d", "e", "f"}) {
      NewDocument document = MakeDocument(key, "title" + key, TextOf(key), 2);
      document.labels = {{"owner", key < "d" ? "ana" : "bob"}};
      MSA_RETURN_IF_ERROR(writer->Add(document).status());
    }
    MSA_RETURN_IF_ERROR(writer->Commit("one").status());
    MSA_RETURN_IF_ERROR(writer->Add(MakeDocument("b", "titleb", TextOf("bb"), 2)).status());
    MSA_RETURN_IF_ERROR(writer->Remove("c").status());
    MSA_RETURN_IF_ERROR(writer->Commit("two").status());
    for (int64_t version = 1; version <= 7; ++version) {
      for (int64_t passage = 0; passage < 2; ++passage) {
        MSA_RETURN_IF_ERROR(
            writer->AddLatents(encoding, VersionId{version}, passage, LatentsOf(version, passage)));
        MSA_RETURN_IF_ERROR(writer->CommitLatents());
      }
    }
    return OkStatus();
  }

  static Result<EraseReport> Erase(const std::string& path, const EraseRequest& request,
                                   FileSystem& fs = PosixFileSystem()) {
    MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path, fs));
    MSA_ASSIGN_OR_RETURN(const auto writer, bank->StartWrite());
    return writer->Erase(request, "erase");
  }

  // Which traces of a document are there: its words, and the floats of its latents.
  static std::vector<std::string> TracesOf(const std::string& everything, const std::string& key,
                                           const std::vector<int64_t>& versions) {
    std::vector<std::string> traces;
    for (int i = 0; i < 40; ++i) {
      const std::string word = "word" + key + std::to_string(i);
      const size_t at = everything.find(word);
      if (at != everything.npos) traces.push_back(word);
    }
    if (everything.find("title" + key) != everything.npos) traces.push_back("title");
    for (const int64_t version : versions) {
      for (int64_t passage = 0; passage < 2; ++passage) {
        const LatentBlock block = LatentsOf(version, passage);
        if (everything.find(AsChars(block.latents)) != everything.npos) {
          traces.push_back("latents of version " + std::to_string(version));
        }
      }
    }
    return traces;
  }

  static std::vector<std::string> KeysAt(const std::string& path, int64_t revision) {
    std::vector<std::string> keys;
    auto bank = Bank::Open(path);
    EXPECT_TRUE(bank.ok()) << bank.status();
    auto snapshot = (*bank)->At(RevisionId{revision});
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    EXPECT_TRUE((*snapshot)
                    ->ForEachDocument({},
                                      [&](const DocumentInfo& info) {
                                        keys.push_back(info.key);
                                        const auto content = (*snapshot)->ReadContent(info.version);
                                        EXPECT_TRUE(content.ok()) << content.status();
                                        return true;
                                      })
                    .ok());
    EXPECT_EQ((*snapshot)->Stats()->documents, static_cast<int64_t>(keys.size()));
    return keys;
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(ErasureTest, NothingOfADocumentIsLeft) {
  const std::string before = Everything(path_);
  EXPECT_EQ(TracesOf(before, "b", {2, 7}).size(), 40u + 1 + 4) << "the same search finds it before";
  const auto report = Erase(path_, {.documents = {"b"}, .where = {}});
  ASSERT_OK(report);
  EXPECT_EQ(report->numbers.size(), 1u);
  EXPECT_EQ(report->revision.value, 3);
  EXPECT_THAT(report->waits_for, IsEmpty());

  const std::string after = Everything(path_);
  EXPECT_THAT(TracesOf(after, "b", {2, 7}), IsEmpty());
  EXPECT_THAT(TracesOf(after, "bb", {}), IsEmpty());
  EXPECT_EQ(TracesOf(after, "a", {1}).size(), 40u + 1 + 2);
  EXPECT_THAT(KeysAt(path_, 1), ElementsAre("a", "c", "d", "e", "f")) << "dead in every revision";
  EXPECT_THAT(KeysAt(path_, 3), ElementsAre("a", "d", "e", "f"));

  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  ASSERT_OK((*bank)->Audit());
  const auto snapshot = *(*bank)->Latest();
  EXPECT_EQ(snapshot->SearchLexical("worda7", 5, {})->size(), 1u);
  EXPECT_EQ(snapshot->SearchLexical("wordb7", 5, {})->size(), 0u);
  const auto encodings = snapshot->Encodings();
  ASSERT_OK(encodings);
  EXPECT_EQ(encodings->front().encoded_passages, 8);
  const auto kept = snapshot->ReadLatents(encodings->front().info.id, PassageId{0});
  ASSERT_OK(kept);
  EXPECT_EQ(kept->latents, LatentsOf(1, 0).latents);
  // Going back does not bring it back.
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Revert(RevisionId{1}, "back"));
  EXPECT_EQ((*bank)->Latest().value()->FindDocument("b").status().code(), StatusCode::kNotFound);
  ASSERT_OK((*bank)->Audit());
}

// Among many documents, so that its postings are taken out of the shard; and with a shard that
// cannot be edited, which is then built anew.
TEST_F(ErasureTest, NothingIsLeftInAShardOfMany) {
  for (const bool is_damaged : {false, true}) {
    SCOPED_TRACE(is_damaged);
    const std::string path = folder_ / (is_damaged ? "damaged" : "sound");
    ASSERT_OK(Bank::Create(path, {}));
    {
      auto bank = Bank::Open(path);
      ASSERT_OK(bank);
      auto writer = (*bank)->StartWrite();
      ASSERT_OK(writer);
      for (int i = 0; i < 200; ++i) {
        const std::string key = "k" + std::to_string(i) + "k";
        ASSERT_OK((*writer)->Add(MakeDocument(key, "title" + key, TextOf(key), 2)));
      }
      ASSERT_OK((*writer)->Commit("many"));
    }
    if (is_damaged) {
      for (const auto& entry : std::filesystem::directory_iterator(path + "/lexical")) {
        std::string bytes = ReadFile(entry.path().string()).value();
        bytes[bytes.size() / 2] ^= 1;
        ASSERT_OK(WriteFileAtomically(PosixFileSystem(), entry.path().string(), bytes));
      }
    }
    ASSERT_OK(Erase(path, {.documents = {"k7k", "k199k"}, .where = {}}));
    const std::string after = Everything(path);
    EXPECT_THAT(TracesOf(after, "k7k", {}), IsEmpty());
    EXPECT_THAT(TracesOf(after, "k199k", {}), IsEmpty());
    EXPECT_EQ(TracesOf(after, "k8k", {}).size(), 40u + 1);
    auto bank = Bank::Open(path);
    ASSERT_OK(bank);
    ASSERT_OK((*bank)->Audit());
    const auto snapshot = *(*bank)->Latest();
    EXPECT_EQ(snapshot->SearchLexical("wordk7k3", 5, {})->size(), 0u);
    EXPECT_EQ(snapshot->SearchLexical("wordk8k3", 5, {})->size(), 1u);
  }
}

TEST_F(ErasureTest, WhereTakesDocumentsOfEveryRevision) {
  const auto report = Erase(path_, {.documents = {}, .where = {{"owner", "ana"}}});
  ASSERT_OK(report);
  EXPECT_EQ(report->numbers.size(), 3u) << "a, b by an older version, c though it was removed";
  const std::string after = Everything(path_);
  for (const std::string key : {"a", "b", "bb", "c"}) {
    EXPECT_THAT(TracesOf(after, key, {}), IsEmpty()) << key;
  }
  EXPECT_THAT(KeysAt(path_, 1), ElementsAre("d", "e", "f"));
}

TEST_F(ErasureTest, NamesThatAreNotThereEraseNothing) {
  EXPECT_EQ(Erase(path_, {.documents = {"a", "nowhere"}, .where = {}}).status().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(Erase(path_, {.documents = {"title"}, .where = {}}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(KeysAt(path_, 1).size(), 6u);
}

TEST_F(ErasureTest, ErasedIdsStayOutUnlessReadmitted) {
  ASSERT_OK(Erase(path_, {.documents = {"a"}, .where = {}}));
  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  {
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    EXPECT_EQ(*(*writer)->Compare("a", "t", "x", {}), AddOutcome::kErased);
    EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "t", "new words")), AddOutcome::kErased);
    EXPECT_EQ((*writer)->Commit("nothing")->value, 3);
  }
  {
    auto writer = (*bank)->StartWrite({.author = "", .readmit = true});
    ASSERT_OK(writer);
    EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "t", "new words")), AddOutcome::kAdded);
    ASSERT_OK((*writer)->Commit("again"));
  }
  {
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    EXPECT_EQ(*(*writer)->Add(MakeDocument("a", "t", "newer words")), AddOutcome::kReplaced);
    ASSERT_OK((*writer)->Commit("more"));
  }
  ASSERT_OK((*bank)->Audit());
  EXPECT_EQ((*bank)->Latest().value()->SearchLexical("newer", 5, {})->size(), 1u);
}

TEST_F(ErasureTest, CertificateShowsItAndRefusesWhatIsNotSo) {
  std::filesystem::copy(path_, folder_ / "before", std::filesystem::copy_options::recursive);
  std::string certificate;
  {
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    const auto report = (*writer)->Erase({.documents = {"b"}, .where = {}}, "erase");
    ASSERT_OK(report);
    const auto made = (*writer)->Certify(folder_ / "key", report->numbers);
    ASSERT_OK(made);
    certificate = *made;
    EXPECT_EQ((*writer)->Certify(folder_ / "key", {std::string(32, '0')}).status().code(),
              StatusCode::kFailedPrecondition);
    ASSERT_OK((*writer)->Add(MakeDocument("new", "t", "and " + TextOf("x"))));
    ASSERT_OK((*writer)->Commit("goes on"));
  }
  EXPECT_THAT(certificate, testing::Not(HasSubstr("titleb")));
  const auto verify = [&](std::optional<std::string_view> content = std::nullopt) {
    auto bank = Bank::Open(path_);
    EXPECT_TRUE(bank.ok()) << bank.status();
    return (*bank)->VerifyErased(certificate, content);
  };
  const auto proof = verify(TextOf("b"));
  ASSERT_OK(proof);
  EXPECT_EQ(proof->documents, 1);
  EXPECT_THAT(proof->sharing, IsEmpty());
  EXPECT_THAT(verify(TextOf("x"))->sharing, ElementsAre("new"));

  // A stray file, bytes beyond an end, and bytes where the document was.
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_ + "/copy.txt", "x"));
  EXPECT_THAT(verify().status().message(), HasSubstr("copy.txt"));
  std::filesystem::remove(path_ + "/copy.txt");
  for (const auto& entry : std::filesystem::directory_iterator(path_ + "/packs")) {
    const std::string name = entry.path().string();
    const std::string sound = ReadFile(name).value();
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), name, sound + "more"));
    EXPECT_FALSE(verify().ok());
    std::string stained = sound;
    const size_t zeros = sound.find(std::string(20, '\0'), 64);
    ASSERT_NE(zeros, sound.npos);
    stained[zeros + 10] = 'x';
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), name, stained));
    EXPECT_THAT(verify().status().message(), HasSubstr("not zero"));
    ASSERT_OK(WriteFileAtomically(PosixFileSystem(), name, sound));
  }
  ASSERT_OK(verify());
  // The bank of before, and one whose chain was rolled back.
  auto older = Bank::Open(folder_ / "before");
  ASSERT_OK(older);
  EXPECT_EQ((*older)->VerifyErased(certificate).status().code(), StatusCode::kDataLoss);
}

TEST_F(ErasureTest, WaitsForReadersInOtherProcesses) {
  int to_parent[2];
  int to_child[2];
  ASSERT_EQ(::pipe(to_parent) | ::pipe(to_child), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto bank = Bank::Open(path_);
    auto snapshot = (*bank)->Latest();
    const auto info = (*snapshot)->FindDocument("b");
    const auto content = (*snapshot)->ReadContent(info->version);
    char byte = content.ok() ? 'r' : 'x';
    if (::write(to_parent[1], &byte, 1) != 1 || ::read(to_child[0], &byte, 1) != 1) ::_exit(2);
    // Erased meanwhile: neither from the cache nor from a file.
    if ((*snapshot)->ReadContent(info->version).status().code() != StatusCode::kUnavailable) {
      ::_exit(3);
    }
    if ((*snapshot)->SearchLexical("wordb1", 1, {}).ok()) ::_exit(4);
    snapshot = (*bank)->Latest();
    if (!snapshot.ok() || (*snapshot)->FindDocument("b").ok()) ::_exit(5);
    byte = 'd';
    if (::write(to_parent[1], &byte, 1) != 1 || ::read(to_child[0], &byte, 1) != 1) ::_exit(6);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'r');
  const auto first = Erase(path_, {.documents = {"b"}, .where = {}});
  ASSERT_OK(first);
  EXPECT_THAT(first->waits_for, HasSubstr(std::to_string(child)));
  {
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    EXPECT_EQ((*writer)->Certify(folder_ / "key", first->numbers).status().code(),
              StatusCode::kFailedPrecondition);
    ASSERT_OK((*writer)->Add(MakeDocument("more", "t", "while it waits")));
    ASSERT_OK((*writer)->Commit("more"));
  }
  ASSERT_EQ(::write(to_child[1], &byte, 1), 1);
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'd');
  const auto second = Erase(path_, {});
  ASSERT_OK(second);
  EXPECT_THAT(second->waits_for, IsEmpty());
  EXPECT_EQ(second->numbers, first->numbers);
  ASSERT_EQ(::write(to_child[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(TracesOf(Everything(path_), "b", {2, 7}), IsEmpty());
}

TEST_F(ErasureTest, AnOldSnapshotOfThisProcessHoldsTheEndBack) {
  auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  auto snapshot = *(*bank)->Latest();
  auto writer = (*bank)->StartWrite();
  ASSERT_OK(writer);
  const auto report = (*writer)->Erase({.documents = {"b"}, .where = {}}, "erase");
  ASSERT_OK(report);
  EXPECT_THAT(report->waits_for, HasSubstr("readers"));
  EXPECT_EQ(snapshot->CheckErasures().code(), StatusCode::kUnavailable);
  snapshot.reset();
  const auto done = (*writer)->Erase({}, "erase");
  ASSERT_OK(done);
  EXPECT_THAT(done->waits_for, IsEmpty());
  ASSERT_OK((*bank)->Audit());
}

TEST_F(ErasureTest, PowerLostAtAnyWriteOrSyncLeavesItToTheNextWriter) {
  int64_t stopped = 0;
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE("stopped at operation " + std::to_string(fail_at));
    const std::string path = folder_ / "crash";
    std::filesystem::remove_all(path);
    std::filesystem::copy(path_, path, std::filesystem::copy_options::recursive);
    FaultFileSystem fs(fail_at);
    const auto report = Erase(path, {.documents = {"b"}, .where = {}}, fs);
    const bool failed = fs.failed();
    fs.LosePower();
    ASSERT_TRUE(report.ok() || failed) << report.status();
    {
      // Nobody sees the half of it.
      auto bank = Bank::Open(path);
      ASSERT_OK(bank);
      const auto snapshot = *(*bank)->Latest();
      const bool intended = snapshot->revision().value == 3;
      EXPECT_EQ(snapshot->FindDocument("b").ok(), !intended);
      ASSERT_OK((*bank)->Audit());
      EXPECT_EQ(snapshot->SearchLexical("wordbb3", 5, {})->size(), intended ? 0u : 1u);
    }
    {
      auto bank = Bank::Open(path);
      ASSERT_OK(bank);
      auto writer = (*bank)->StartWrite();
      ASSERT_OK(writer);
      const bool intended = (*bank)->Latest().value()->revision().value == 3;
      if (!intended) ASSERT_OK((*writer)->Erase({.documents = {"b"}, .where = {}}, "erase"));
      ASSERT_OK((*writer)->Add(MakeDocument("after", "t", "goes on")));
      ASSERT_OK((*writer)->Commit("after"));
      ASSERT_OK((*bank)->Audit());
    }
    EXPECT_THAT(TracesOf(Everything(path), "b", {2, 7}), IsEmpty());
    EXPECT_THAT(KeysAt(path, 1), ElementsAre("a", "c", "d", "e", "f"));
    EXPECT_THAT(KeysAt(path, 4), ElementsAre("a", "d", "e", "f", "after"));
    if (report.ok()) break;
    ++stopped;
  }
  EXPECT_GT(stopped, 10) << "erasing no longer writes what it should";
}

// Holds a snapshot of every commit that it saw, with its shards and latents open.
class Watcher {
 public:
  explicit Watcher(const std::string& path) : bank_(Bank::Open(path).value()) {}

  void Look() {
    const auto latest = bank_->Latest().value();
    if (!snapshots_.empty() && snapshots_.back() == latest) return;
    snapshots_.push_back(latest);
    ExpectTruth(*latest);
  }
  // They answer as ever or say that documents were erased.
  void ExpectTruthOfAll() {
    for (const auto& snapshot : snapshots_) ExpectTruth(*snapshot);
  }

 private:
  void ExpectTruth(const Snapshot& snapshot) {
    const auto hits = snapshot.SearchLexical("worda7", 5, {});
    if (Answered(hits.status())) {
      EXPECT_THAT(*hits, SizeIs(1));
    }
    const EncodingId encoding = snapshot.Encodings().value().front().info.id;
    const auto runs = snapshot.RoutingKeys(encoding);
    if (!Answered(runs.status())) return;
    std::string keys;
    for (const KeyRun& run : *runs) {
      const int64_t bytes = run.chunk_begin.back() * kLayout.key_row_bytes();
      keys.append(reinterpret_cast<const char*>(run.keys), static_cast<size_t>(bytes));
    }
    const bool has_keys = keys.find(AsChars(LatentsOf(1, 0).keys)) != keys.npos;
    if (Answered(snapshot.CheckErasures())) {
      EXPECT_TRUE(has_keys);
    }
  }

  static bool Answered(const Status& status) {
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kUnavailable) << status;
    return status.ok();
  }

  const std::unique_ptr<Bank> bank_;
  std::vector<std::shared_ptr<const Snapshot>> snapshots_;
};

// Files that are overwritten may be open in readers, mapped even.
TEST_F(ErasureTest, ReadersNeverTakeOverwrittenFilesForTheBank) {
  const auto erase_and_go_on = [](const std::string& path, FileSystem& fs) -> Status {
    MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path, fs));
    MSA_ASSIGN_OR_RETURN(const auto writer, bank->StartWrite());
    MSA_RETURN_IF_ERROR(writer->Erase({.documents = {"b"}, .where = {}}, "erase").status());
    MSA_RETURN_IF_ERROR(writer->Add(MakeDocument("new", "t", TextOf("n"), 2)).status());
    return writer->Commit("its shard is merged with the others").status();
  };
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE("killed at operation " + std::to_string(fail_at));
    const std::string path = folder_ / "crash";
    std::filesystem::remove_all(path);
    std::filesystem::copy(path_, path, std::filesystem::copy_options::recursive);
    Watcher watcher(path);
    FaultFileSystem fs(fail_at);
    fs.SetObserver([&] { watcher.Look(); });
    const Status status = erase_and_go_on(path, fs);
    ASSERT_TRUE(status.ok() || fs.failed()) << status;
    watcher.ExpectTruthOfAll();
    watcher.Look();
    // What the next one finds without a name it overwrites too.
    auto bank = Bank::Open(path);
    ASSERT_OK(bank);
    ASSERT_OK((*bank)->StartWrite());
    watcher.ExpectTruthOfAll();
    if (status.ok() || HasFailure()) break;
  }
}

}  // namespace
}  // namespace msa
