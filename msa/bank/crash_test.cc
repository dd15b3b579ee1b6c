// What a bank is after its writer stopped: at any write or sync, or killed at any moment.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <map>
#include <random>
#include <thread>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

// Tails of these tests are sealed when they hold two blocks.
constexpr int64_t kSmallSeal = 400;

const LatentLayout kLayout{.key_dim = 16,
                           .layers = 1,
                           .kv_heads = 1,
                           .head_dim = 4,
                           .key_dtype = DType::kI8,
                           .latent_dtype = DType::kF32};

std::string KeyOf(int round, int number) {
  return std::string("r").append(std::to_string(round)).append("i").append(std::to_string(number)) +
         "x";
}

// Text that a document's key determines, of a length that differs.
std::string TextOf(const std::string& key) {
  std::string text;
  for (size_t i = 0; i < 20 + std::hash<std::string>()(key) % 50; ++i) {
    text += key + std::to_string(i) + " ";
  }
  return text;
}

NewDocument DocumentOf(const std::string& key) {
  return MakeDocument(key, "title " + key, TextOf(key), 3);
}

// Every document is whole, each key there once, and each is found by a word of its own.
void ExpectSound(const Snapshot& snapshot, std::map<std::string, int>* found) {
  std::vector<DocumentInfo> infos;
  ASSERT_OK(snapshot.ForEachDocument({}, [&](const DocumentInfo& info) {
    infos.push_back(info);
    return true;
  }));
  for (const DocumentInfo& info : infos) {
    EXPECT_EQ(++(*found)[info.key], 1) << info.key << " is there twice";
    const auto content = snapshot.ReadContent(info.version);
    ASSERT_OK(content);
    EXPECT_EQ(content->text, TextOf(info.key));
    ASSERT_EQ(content->passages.size(), 3u);
    const auto hits = snapshot.SearchLexical(info.key + "0", 3, {});
    ASSERT_OK(hits);
    ASSERT_EQ(hits->size(), 1u) << info.key;
    EXPECT_EQ((*hits)[0].passage, content->passages[0].id);
  }
  EXPECT_EQ(snapshot.Stats()->documents, static_cast<int64_t>(infos.size()));
}

// Latents that are there are those that were written.
void ExpectSoundLatents(const Snapshot& snapshot) {
  const auto encodings = snapshot.Encodings();
  ASSERT_OK(encodings);
  for (const EncodingStats& encoding : *encodings) {
    const auto runs = snapshot.RoutingKeys(encoding.info.id);
    ASSERT_OK(runs);
    int64_t passages = 0;
    for (const KeyRun& run : *runs) {
      for (const PassageId passage : run.passages) {
        ++passages;
        const auto address = snapshot.FindPassage(passage);
        ASSERT_OK(address);
        const auto block = snapshot.ReadLatents(encoding.info.id, passage);
        ASSERT_OK(block);
        EXPECT_EQ(block->latents,
                  MakeLatents(kLayout, {2}, address->version.value * 3 + address->index).latents);
      }
    }
    EXPECT_EQ(passages, encoding.encoded_passages);
  }
}

// Adds documents and latents over several commits; stops at the first error. Keys go to
// `acknowledged` once their commit returned.
Status Script(const std::string& path, FileSystem& fs, std::map<std::string, int>* acknowledged) {
  MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path, fs));
  MSA_ASSIGN_OR_RETURN(auto writer, Writer::Start(core, {}, kSmallSeal));
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding,
                       writer->OpenEncoding({{}, "feed", "{}", kLayout}));
  int64_t version = 1;
  for (int commit = 0; commit < 3; ++commit) {
    std::vector<std::string> keys;
    for (int i = 0; i < 2; ++i) {
      keys.push_back(KeyOf(commit, i));
      MSA_RETURN_IF_ERROR(writer->Add(DocumentOf(keys.back())).status());
    }
    MSA_RETURN_IF_ERROR(writer->Commit("commit").status());
    for (const auto& key : keys) (*acknowledged)[key] = 1;
    for (size_t i = 0; i < keys.size(); ++i, ++version) {
      for (int64_t p = 0; p < 3; ++p) {
        MSA_RETURN_IF_ERROR(writer->AddLatents(encoding, VersionId{version}, p,
                                               MakeLatents(kLayout, {2}, version * 3 + p)));
      }
    }
    MSA_RETURN_IF_ERROR(writer->CommitLatents());
  }
  return OkStatus();
}

TEST(Crash, PowerLostAtAnyWriteOrSyncLosesNothingAcknowledged) {
  int64_t stopped = 0;
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE("stopped at operation " + std::to_string(fail_at));
    TemporaryFolder folder;
    const std::string path = folder / "bank";
    ASSERT_OK(Bank::Create(path, {}));
    std::map<std::string, int> acknowledged;
    FaultFileSystem fs(fail_at);
    const Status status = Script(path, fs, &acknowledged);
    fs.LosePower();
    EXPECT_TRUE(status.ok() || fs.failed()) << status;

    for (int round = 0; round < 2; ++round) {
      auto bank = Bank::Open(path);
      ASSERT_OK(bank);
      std::map<std::string, int> found;
      const auto snapshot = (*bank)->Latest();
      ASSERT_OK(snapshot);
      ExpectSound(**snapshot, &found);
      ExpectSoundLatents(**snapshot);
      for (const auto& [key, one] : acknowledged) {
        EXPECT_TRUE(found.contains(key)) << key << " was acknowledged";
      }
      // The next writer goes on where this one stopped.
      auto writer = (*bank)->StartWrite();
      ASSERT_OK(writer);
      const std::string key = "after" + std::to_string(round);
      ASSERT_OK((*writer)->Add(DocumentOf(key)));
      ASSERT_OK((*writer)->Commit("after"));
      acknowledged[key] = 1;
    }
    if (status.ok()) break;
    ++stopped;
  }
  EXPECT_GT(stopped, 40) << "the script no longer writes what it should";
}

TEST(Crash, InterruptedCreateIsTakenUpAgain) {
  for (int64_t fail_at = 0;; ++fail_at) {
    TemporaryFolder folder;
    FaultFileSystem fs(fail_at);
    // Its name must be durable too, whatever path leads to it.
    const bool created = Bank::Create(folder / "bank/", {}, fs).ok();
    fs.LosePower();
    if (!created) {
      auto bank = Bank::Open(folder / "bank");
      if (!bank.ok()) {
        EXPECT_EQ(bank.status().code(), StatusCode::kNotFound) << bank.status();
        bank = Bank::Create(folder / "bank", {});
      }
      EXPECT_TRUE(bank.ok()) << "operation " << fail_at << ": " << bank.status();
    } else {
      EXPECT_TRUE(Bank::Open(folder / "bank").ok());
      break;
    }
  }
}

// Adds documents for ever, telling of each commit through `pipe`.
[[noreturn]] void AddForever(const std::string& path, int round, int pipe) {
  auto bank = Bank::Open(path);
  if (!bank.ok()) bank = Bank::Create(path, {});
  if (!bank.ok()) ::_exit(2);
  auto writer = (*bank)->StartWrite();
  if (!writer.ok()) ::_exit(3);
  for (int i = 0;; ++i) {
    const std::string key = KeyOf(round, i);
    if (!(*writer)->Add(DocumentOf(key)).ok()) ::_exit(4);
    if (i % 3 != 2) continue;
    if (!(*writer)->Commit("round").ok()) ::_exit(5);
    if (::write(pipe, &i, sizeof(i)) != sizeof(i)) ::_exit(6);
  }
}

TEST(Crash, KilledFiftyTimesAtRandomKeepsEveryAcknowledgedDocumentOnce) {
  constexpr int kRounds = 50;
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  TemporaryFolder folder;
  const std::string path = folder / "bank";
  std::map<std::string, int> acknowledged;
  for (int round = 0; round < kRounds; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) AddForever(path, round, pipe[1]);
    ::close(pipe[1]);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "round " << round << " ended with " << status;
    for (int last = 0; ::read(pipe[0], &last, sizeof(last)) == sizeof(last);) {
      for (int i = last - 2; i <= last; ++i) {
        acknowledged[KeyOf(round, i)] = 1;
      }
    }
    ::close(pipe[0]);
  }
  auto bank = Bank::Open(path);
  ASSERT_OK(bank);
  std::map<std::string, int> found;
  const auto snapshot = (*bank)->Latest();
  ASSERT_OK(snapshot);
  ExpectSound(**snapshot, &found);
  for (const auto& [key, one] : acknowledged) EXPECT_TRUE(found.contains(key)) << key;
  EXPECT_GT(acknowledged.size(), 0u);
}

TEST(Crash, ReadersInOtherProcessesNeverSeeHalfACommit) {
  TemporaryFolder folder;
  const std::string path = folder / "bank";
  ASSERT_OK(Bank::Create(path, {}));
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  if (child == 0) AddForever(path, 0, pipe[1]);  // three documents a commit
  ::close(pipe[1]);
  {
    auto bank = Bank::Open(path);
    ASSERT_OK(bank);
    std::vector<std::pair<std::shared_ptr<const Snapshot>, int64_t>> kept;
    int64_t last = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
    while (std::chrono::steady_clock::now() < end) {
      const auto snapshot = (*bank)->Latest();
      ASSERT_OK(snapshot);
      const auto documents = (*snapshot)->MatchingPassages({});
      ASSERT_OK(documents);
      const auto count = (*documents)->kept.size() / 3;
      EXPECT_EQ(count % 3, 0);
      EXPECT_EQ(count, (*snapshot)->Stats()->documents);
      EXPECT_GE(count, last);
      last = count;
      if (count == 0) continue;
      const std::string key = KeyOf(0, static_cast<int>(count - 1));
      const auto info = (*snapshot)->FindDocument(key);
      ASSERT_OK(info);
      EXPECT_EQ((*snapshot)->ReadContent(info->version)->text, TextOf(key));
      const auto hits = (*snapshot)->SearchLexical(key + "0", 1, {});
      ASSERT_OK(hits);
      EXPECT_EQ(hits->size(), 1u);
      if (kept.size() < 5) kept.emplace_back(*snapshot, count);
    }
    for (const auto& [snapshot, count] : kept) {
      EXPECT_EQ((*snapshot->MatchingPassages({}))->kept.size(), count * 3);
      std::map<std::string, int> found;
      ExpectSound(*snapshot, &found);
    }
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(pipe[0]);
}

// SQLite takes a WAL that nobody has locked for one that it may remove.
TEST(Crash, ReaderThatCountsBytesKeepsItsLockOnTheCatalog) {
  TemporaryFolder folder;
  const std::string path = folder / "bank";
  ASSERT_OK(Bank::Create(path, {}));
  int ready[2];
  int done[2];
  ASSERT_TRUE(::pipe(ready) == 0 && ::pipe(done) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto bank = Bank::Open(path);
    if (!bank.ok() || !(*bank)->Latest().value()->Stats().ok()) ::_exit(1);
    char byte = 'r';
    if (::write(ready[1], &byte, 1) != 1 || ::read(done[0], &byte, 1) != 1) ::_exit(2);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const int fd = ::open((path + "/catalog.sqlite").c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0x40000002;  // SQLite's shared bytes
  lock.l_len = 510;
  ASSERT_EQ(::fcntl(fd, F_GETLK, &lock), 0);
  EXPECT_EQ(lock.l_type, F_RDLCK);
  EXPECT_EQ(lock.l_pid, child);
  ::close(fd);
  ASSERT_EQ(::write(done[1], &byte, 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace msa
