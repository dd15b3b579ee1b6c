#include "msa/bank/keyring.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <random>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/fault_file_system.h"
#include "msa/base/test_file_system.h"

namespace msa {
namespace {

using Kind = Keyring::Kind;
using ::testing::HasSubstr;

// Counts the bytes that are read.
class CountingFileSystem final : public TestFileSystem {
 public:
  int64_t bytes_read() const { return bytes_read_; }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    MSA_ASSIGN_OR_RETURN(auto file, TestFileSystem::Open(path, mode));
    return std::make_unique<CountingFile>(std::move(file), bytes_read_);
  }

 private:
  class CountingFile final : public TestFile {
   public:
    CountingFile(std::unique_ptr<File> base, int64_t& bytes_read)
        : TestFile(std::move(base)), bytes_read_(bytes_read) {}
    Status ReadAt(int64_t offset, std::span<std::byte> out) const override {
      bytes_read_ += std::ssize(out);
      return TestFile::ReadAt(offset, out);
    }

   private:
    int64_t& bytes_read_;
  };

  int64_t bytes_read_ = 0;
};

class KeyringTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(Keyring::Create(PosixFileSystem(), path_, bank_, master_)); }

  std::unique_ptr<Keyring> Open(FileSystem& fs = PosixFileSystem()) {
    auto keyring = Keyring::Open(fs, path_, bank_, master_);
    EXPECT_TRUE(keyring.ok()) << keyring.status();
    return keyring.ok() ? *std::move(keyring) : nullptr;
  }
  std::unique_ptr<Keyring> OpenWith(const SecretKey& master, const std::string& path) {
    auto keyring = Keyring::Open(PosixFileSystem(), path, bank_, master);
    return keyring.ok() ? *std::move(keyring) : nullptr;
  }
  static std::string Hex(const SecretKey& key) { return HexEncode(key.bytes()); }
  // Empty: there is none.
  static std::string Find(Keyring& keyring, Kind kind, const RandomNumber& number) {
    const auto key = keyring.Find(kind, number);
    EXPECT_TRUE(key.ok()) << key.status();
    return key.ok() && *key ? Hex(**key) : "";
  }

  // Documents with their keys, in the order of their slots.
  std::vector<std::pair<RandomNumber, std::string>> AddDocuments(int count) {
    const auto keyring = Open();
    std::vector<std::pair<RandomNumber, std::string>> documents;
    for (int i = 0; i < count; ++i) {
      const RandomNumber number = MakeRandomNumber();
      documents.emplace_back(number, Hex(keyring->Add(Kind::kDocument, number).value()));
    }
    EXPECT_TRUE(keyring->Sync().ok());
    return documents;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / "keyrings/bank.keys";
  const BankId bank_ = MakeRandomNumber();
  const SecretKey master_ = SecretKey::Random();
};

TEST_F(KeyringTest, KeepsKeysAndHidesThem) {
  const RandomNumber document = MakeRandomNumber();
  const RandomNumber shard = MakeRandomNumber();
  auto keyring = Open();
  const auto document_key = keyring->Add(Kind::kDocument, document);
  const auto shard_key = keyring->Add(Kind::kShard, shard);
  ASSERT_OK(document_key);
  ASSERT_OK(shard_key);
  ASSERT_OK(keyring->Sync());
  const std::string root = Hex(keyring->root());

  keyring = Open();
  EXPECT_EQ(Hex(keyring->root()), root);
  EXPECT_EQ(Find(*keyring, Kind::kDocument, document), Hex(*document_key));
  EXPECT_EQ(Find(*keyring, Kind::kShard, shard), Hex(*shard_key));
  EXPECT_EQ(Find(*keyring, Kind::kShard, document), "");
  EXPECT_EQ(Find(*keyring, Kind::kDocument, MakeRandomNumber()), "");

  const std::string file = ReadFile(path_).value();
  for (const auto& key :
       {document_key->bytes(), shard_key->bytes(), keyring->root().bytes(), master_.bytes()}) {
    EXPECT_EQ(file.find(AsChars(key)), std::string::npos);
  }
  struct stat st{};
  ASSERT_EQ(::stat((folder_ / "keyrings").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 077, 0U);
}

TEST_F(KeyringTest, RefusesOtherMasterKeysBanksAndFiles) {
  const auto code = [&](const BankId& bank, const SecretKey& master) {
    return Keyring::Open(PosixFileSystem(), path_, bank, master).status();
  };
  const Status wrong_key = code(bank_, SecretKey::Random());
  EXPECT_EQ(wrong_key.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(wrong_key.message(), HasSubstr("MSA_MASTER_KEY_FILE"));
  EXPECT_EQ(code(MakeRandomNumber(), master_).code(), StatusCode::kDataLoss);
  const Status missing =
      Keyring::Open(PosixFileSystem(), folder_ / "none", bank_, master_).status();
  EXPECT_EQ(missing.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(missing.message(), HasSubstr("MSA_KEYRINGS"));
  EXPECT_EQ(Keyring::Create(PosixFileSystem(), path_, bank_, master_).code(),
            StatusCode::kAlreadyExists);
}

TEST_F(KeyringTest, DestroyedKeysLeaveNothingButTheNumberOfADocument) {
  const RandomNumber document = MakeRandomNumber();
  const RandomNumber shard = MakeRandomNumber();
  auto keyring = Open();
  ASSERT_OK(keyring->Add(Kind::kDocument, document));
  ASSERT_OK(keyring->Add(Kind::kShard, shard));
  ASSERT_OK(keyring->Sync());
  const auto other = Open();  // as another process that has read them
  EXPECT_NE(Find(*other, Kind::kDocument, document), "");
  const std::string before = ReadFile(path_).value();

  ASSERT_OK(keyring->Destroy(Kind::kDocument, document));
  ASSERT_OK(keyring->DestroyShardsExcept({}));
  ASSERT_OK(keyring->Destroy(Kind::kDocument, document));  // twice is as once
  ASSERT_OK(keyring->Sync());
  other->Forget();
  const auto opened = Open();
  for (Keyring* each : {keyring.get(), other.get(), opened.get()}) {
    EXPECT_EQ(Find(*each, Kind::kDocument, document), "");
    EXPECT_EQ(Find(*each, Kind::kShard, shard), "");
    EXPECT_TRUE(each->IsDestroyed(document).value());
    EXPECT_FALSE(each->IsDestroyed(MakeRandomNumber()).value());
  }
  const std::string after = ReadFile(path_).value();
  ASSERT_EQ(after.size(), before.size());
  for (size_t begin = 128; begin + 16 <= before.size(); ++begin) {
    const std::string_view bytes = std::string_view(before).substr(begin, 16);
    // Where most are zero, the rest may be equal by chance.
    if (bytes == AsChars(document) || std::ranges::count(bytes, '\0') > 8) continue;
    if (after.compare(begin, 16, bytes) != 0) continue;
    EXPECT_LT(begin, size_t{128 + 32}) << "bytes of a sealed key stayed at " << begin;
  }
  EXPECT_EQ(after.find(AsChars(shard)), std::string::npos);
}

TEST_F(KeyringTest, KeysInTheirOrderAreFoundWithoutReadingTheRest) {
  const auto documents = AddDocuments(1000);
  const auto file_bytes = static_cast<int64_t>(ReadFile(path_).value().size());
  CountingFileSystem fs;
  const auto keyring = Open(fs);
  EXPECT_EQ(Find(*keyring, Kind::kDocument, documents[0].first), documents[0].second);
  EXPECT_LE(fs.bytes_read(), 8192);
  for (const auto& [number, key] : documents) {
    EXPECT_EQ(Find(*keyring, Kind::kDocument, number), key);
  }
  EXPECT_LE(fs.bytes_read(), file_bytes + 8192);
  // In any other order too, but not so soon.
  for (size_t i = 0; i < documents.size(); ++i) {
    const auto& [number, key] = documents[i * 617 % documents.size()];
    EXPECT_EQ(Find(*keyring, Kind::kDocument, number), key);
  }
}

TEST_F(KeyringTest, EqualsAModelWhileOthersReadIt) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const std::string path = folder_ / ("model" + std::to_string(seed) + "/bank.keys");
    ASSERT_OK(Keyring::Create(PosixFileSystem(), path, bank_, master_));
    auto writer = OpenWith(master_, path);
    const auto reader = OpenWith(master_, path);
    std::map<RandomNumber, std::string> documents;  // empty: destroyed
    std::map<RandomNumber, std::string> shards;
    std::vector<RandomNumber> gone;
    const auto pick = [&](const auto& numbers) {
      return std::next(numbers.begin(), static_cast<int64_t>(random() % numbers.size()));
    };
    for (int step = 0; step < 1500; ++step) {
      const unsigned choice = random() % 20;
      const RandomNumber number = MakeRandomNumber();
      if (choice < 8) {
        documents[number] = Hex(writer->Add(Kind::kDocument, number).value());
      } else if (choice < 11) {
        shards[number] = Hex(writer->Add(Kind::kShard, number).value());
      } else if (choice == 11 && !documents.empty()) {
        const auto document = pick(documents);
        ASSERT_OK(writer->Destroy(Kind::kDocument, document->first));
        documents[document->first].clear();
        reader->Forget();
      } else if (choice == 12 && !shards.empty()) {
        gone.push_back(pick(shards)->first);
        ASSERT_OK(writer->Destroy(Kind::kShard, gone.back()));
        shards.erase(gone.back());
        reader->Forget();
      } else if (choice == 13 && random() % 20 == 0) {
        std::set<RandomNumber> kept;
        for (const auto& [shard, key] : shards) {
          if (random() % 2 == 0) kept.insert(shard);
        }
        std::erase_if(shards, [&](const auto& shard) { return !kept.contains(shard.first); });
        ASSERT_OK(writer->DestroyShardsExcept(kept));
        reader->Forget();
      } else if (choice == 14 && random() % 20 == 0) {
        ASSERT_OK(writer->Sync());
        writer = OpenWith(master_, path);
      } else if (!documents.empty() && !shards.empty()) {
        for (Keyring* each : {writer.get(), reader.get()}) {
          const auto document = pick(documents);
          EXPECT_EQ(Find(*each, Kind::kDocument, document->first), document->second);
          EXPECT_EQ(each->IsDestroyed(document->first).value(), document->second.empty());
          const auto shard = pick(shards);
          EXPECT_EQ(Find(*each, Kind::kShard, shard->first), shard->second);
          EXPECT_EQ(Find(*each, Kind::kDocument, shard->first), "");
          if (!gone.empty()) {
            EXPECT_EQ(Find(*each, Kind::kShard, *pick(gone)), "");
          }
        }
      }
    }
    ASSERT_OK(writer->Sync());
    const auto opened = OpenWith(master_, path);
    for (const auto& [number, key] : documents) {
      EXPECT_EQ(Find(*opened, Kind::kDocument, number), key);
    }
    for (const auto& [number, key] : shards) {
      EXPECT_EQ(Find(*opened, Kind::kShard, number), key);
    }
  }
}

TEST_F(KeyringTest, DamagedSlotsAreNamedAndOverwrittenWithTheirKeys) {
  auto documents = AddDocuments(100);
  const RandomNumber shard = MakeRandomNumber();
  {
    const auto keyring = Open();
    ASSERT_OK(keyring->Add(Kind::kShard, shard));
    ASSERT_OK(keyring->Sync());
  }
  const std::string sound = ReadFile(path_).value();
  std::string damaged = sound;
  const size_t document_slot = 128 * 51;
  const size_t shard_slot = 128 * 101;
  damaged[document_slot + 100] ^= 1;
  damaged[shard_slot + 100] ^= 1;
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), path_, damaged));
  const RandomNumber victim = documents[50].first;
  documents.erase(documents.begin() + 50);

  const auto keyring = Open();
  const Status named = keyring->Find(Kind::kDocument, victim).status();
  EXPECT_EQ(named.code(), StatusCode::kDataLoss);
  EXPECT_THAT(named.message(), HasSubstr(path_));
  EXPECT_THAT(named.message(), HasSubstr(HexEncode(victim)));
  EXPECT_THAT(named.message(), HasSubstr("byte " + std::to_string(document_slot)));
  EXPECT_EQ(Find(*keyring, Kind::kShard, shard), "");  // it is made anew
  EXPECT_FALSE(keyring->IsDestroyed(victim).value());

  ASSERT_OK(keyring->Destroy(Kind::kDocument, victim));
  ASSERT_OK(keyring->Destroy(Kind::kShard, shard));
  ASSERT_OK(keyring->Sync());
  const auto opened = Open();
  EXPECT_EQ(Find(*opened, Kind::kDocument, victim), "");
  EXPECT_TRUE(opened->IsDestroyed(victim).value());
  for (const auto& [number, key] : documents) {
    EXPECT_EQ(Find(*opened, Kind::kDocument, number), key);
  }
  const std::string after = ReadFile(path_).value();
  ASSERT_EQ(after.size(), sound.size());
  EXPECT_EQ(after.substr(document_slot + 32, 72), std::string(72, '\0'));
  EXPECT_EQ(after.substr(shard_slot), std::string(128, '\0'));
}

// The half of a slot that was written when power went does not keep the other half from going.
TEST_F(KeyringTest, DestroyingThatWasStoppedIsDoneAgain) {
  const auto documents = AddDocuments(3);
  const std::string before = ReadFile(path_).value();
  const RandomNumber victim = documents[1].first;
  FaultFileSystem fs(0);
  EXPECT_FALSE(Open(fs)->Destroy(Kind::kDocument, victim).ok());
  fs.LosePower([](const std::string&) { return true; });
  const std::string half = ReadFile(path_).value();
  ASSERT_NE(half, before);
  const std::string last = before.substr(128 * 2 + 64, 40);
  ASSERT_NE(half.find(last), half.npos);

  ASSERT_OK(Open()->Destroy(Kind::kDocument, victim));
  EXPECT_TRUE(Open()->IsDestroyed(victim).value());
  const std::string after = ReadFile(path_).value();
  EXPECT_EQ(after.size(), before.size());
  EXPECT_EQ(after.find(last), after.npos);
}

// Whatever write or sync a process stops at: keys that were synced are there, and those destroyed
// before a sync are gone.
TEST_F(KeyringTest, PowerLostAtAnyWriteOrSyncKeepsWhatWasSynced) {
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE("stopped at operation " + std::to_string(fail_at));
    std::mt19937 random(static_cast<unsigned>(fail_at));
    const std::string path = folder_ / ("run" + std::to_string(fail_at) + "/bank.keys");
    ASSERT_OK(Keyring::Create(PosixFileSystem(), path, bank_, master_));
    FaultFileSystem fs(fail_at);
    auto keyring = Keyring::Open(fs, path, bank_, master_).value();
    std::map<RandomNumber, std::string> synced;  // what is there, by number; empty: destroyed
    std::map<RandomNumber, std::string> now;
    std::set<RandomNumber> touched;  // since the last sync: either state is right
    Status status;
    for (int step = 0; step < 40 && status.ok(); ++step) {
      if (random() % 4 == 0) {
        status = keyring->Sync();
        if (!status.ok()) break;
        synced = now;
        touched.clear();
      } else if (random() % 3 == 0 && !now.empty()) {
        auto victim = now.begin();
        std::advance(victim, static_cast<int64_t>(random() % now.size()));
        touched.insert(victim->first);
        victim->second.clear();
        status = keyring->Destroy(Kind::kDocument, victim->first);
      } else {
        const RandomNumber number = MakeRandomNumber();
        touched.insert(number);
        const auto key = keyring->Add(Kind::kDocument, number);
        status = key.status();
        if (key.ok()) now[number] = Hex(*key);
      }
    }
    fs.LosePower();
    keyring = Keyring::Open(PosixFileSystem(), path, bank_, master_).value();
    for (const auto& [number, key] : synced) {
      if (touched.contains(number)) continue;
      EXPECT_EQ(Find(*keyring, Kind::kDocument, number), key);
      EXPECT_EQ(keyring->IsDestroyed(number).value(), key.empty());
    }
    // And it can be written again.
    const RandomNumber number = MakeRandomNumber();
    const auto key = keyring->Add(Kind::kDocument, number);
    ASSERT_OK(key);
    ASSERT_OK(keyring->Sync());
    keyring = Keyring::Open(PosixFileSystem(), path, bank_, master_).value();
    EXPECT_EQ(Find(*keyring, Kind::kDocument, number), Hex(*key));
    if (!fs.failed()) break;
  }
}

TEST_F(KeyringTest, SlotsOfShardsAreUsedAgain) {
  const auto keyring = Open();
  for (int i = 0; i < 20; ++i) {
    const RandomNumber shard = MakeRandomNumber();
    ASSERT_OK(keyring->Add(Kind::kShard, shard));
    ASSERT_OK(keyring->Destroy(Kind::kShard, shard));
  }
  EXPECT_EQ(ReadFile(path_).value().size(), 256U);
}

// No writer makes the number zero, which a free slot seems to have.
TEST_F(KeyringTest, FreeSlotsAreNoKeysOfNumberZero) {
  const auto keyring = Open();
  for (int i = 0; i < 2; ++i) ASSERT_OK(keyring->Add(Kind::kShard, RandomNumber{}));
  keyring->Forget();
  ASSERT_OK(keyring->DestroyShardsExcept({}));
  std::map<RandomNumber, std::string> keys;
  for (int i = 0; i < 4; ++i) {
    const RandomNumber number = MakeRandomNumber();
    keys[number] = Hex(keyring->Add(Kind::kDocument, number).value());
  }
  ASSERT_OK(keyring->Sync());
  const auto opened = Open();
  for (const auto& [number, key] : keys) EXPECT_EQ(Find(*opened, Kind::kDocument, number), key);
}

TEST_F(KeyringTest, ChangedMasterKeyOpensAllAndTheOneBeforeNothing) {
  const RandomNumber document = MakeRandomNumber();
  const RandomNumber shard = MakeRandomNumber();
  const RandomNumber destroyed = MakeRandomNumber();
  auto keyring = Open();
  const std::string document_key = Hex(keyring->Add(Kind::kDocument, document).value());
  const std::string shard_key = Hex(keyring->Add(Kind::kShard, shard).value());
  ASSERT_OK(keyring->Add(Kind::kDocument, destroyed));
  ASSERT_OK(keyring->Destroy(Kind::kDocument, destroyed));
  ASSERT_OK(keyring->Sync());
  const std::string root = Hex(keyring->root());
  const std::string before = ReadFile(path_).value();
  const auto reader = Open();  // as another process
  ASSERT_EQ(Find(*reader, Kind::kDocument, document), document_key);
  const auto old_file = PosixFileSystem().Open(path_, OpenMode::kRead).value();

  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  const SecretKey master = SecretKey::Random();
  ASSERT_OK(keyring->ChangeMasterKey(master));
  struct stat st{};
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  EXPECT_EQ(keyring->ChangeMasterKey(master).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenWith(master_, path_), nullptr);
  // It can be written on, by the object that changed it too.
  const RandomNumber later = MakeRandomNumber();
  const std::string later_key = Hex(keyring->Add(Kind::kDocument, later).value());
  ASSERT_OK(keyring->Sync());
  const auto opened = OpenWith(master, path_);
  ASSERT_NE(opened, nullptr);
  for (Keyring* each : {keyring.get(), opened.get()}) {
    EXPECT_EQ(Hex(each->root()), root);
    EXPECT_EQ(Find(*each, Kind::kDocument, document), document_key);
    EXPECT_EQ(Find(*each, Kind::kShard, shard), shard_key);
    EXPECT_EQ(Find(*each, Kind::kDocument, later), later_key);
    EXPECT_TRUE(each->IsDestroyed(destroyed).value());
  }
  // Who had it open goes on with what it has read.
  EXPECT_EQ(Find(*reader, Kind::kDocument, document), document_key);
  EXPECT_EQ(reader->Find(Kind::kDocument, later).status().code(), StatusCode::kFailedPrecondition);
  reader->Forget();
  EXPECT_EQ(reader->Add(Kind::kDocument, later).status().code(), StatusCode::kFailedPrecondition);

  // Nothing is left of the file before.
  std::string left(before.size(), 'x');
  ASSERT_OK(old_file->ReadAt(0, std::as_writable_bytes(std::span(left))));
  EXPECT_EQ(left, std::string(before.size(), '\0'));
  EXPECT_THAT(PosixFileSystem().List(folder_ / "keyrings").value(),
              ::testing::ElementsAre("bank.keys"));
}

TEST_F(KeyringTest, WhoHasItOpenWhileTheMasterKeyChangesIsToldToOpenItAgain) {
  const auto documents = AddDocuments(1000);
  const SecretKey master = SecretKey::Random();
  for (const bool has_index : {false, true}) {
    SCOPED_TRACE(has_index);
    const auto reader = has_index ? OpenWith(master, path_) : Open();
    const SecretKey next = has_index ? SecretKey::Random() : master;
    EXPECT_EQ(Find(*reader, Kind::kDocument, documents[has_index ? 700 : 0].first),
              documents[has_index ? 700 : 0].second);
    ASSERT_OK((has_index ? OpenWith(master, path_) : Open())->ChangeMasterKey(next));
    for (const size_t i : {size_t{300}, size_t{999}}) {
      const Status status = reader->Find(Kind::kDocument, documents[i].first).status();
      EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
      EXPECT_THAT(status.message(), HasSubstr("does not open the keyring"));
    }
  }
}

// A writer that comes again writes to the file that is there then.
TEST_F(KeyringTest, MasterKeyThatWasChangedAndChangedBackLosesNoKeys) {
  const auto writer = Open();
  ASSERT_OK(writer->Add(Kind::kDocument, MakeRandomNumber()));
  ASSERT_OK(writer->Sync());
  const SecretKey other = SecretKey::Random();
  ASSERT_OK(Open()->ChangeMasterKey(other));
  ASSERT_OK(OpenWith(other, path_)->ChangeMasterKey(master_));
  writer->Forget();
  const RandomNumber document = MakeRandomNumber();
  const std::string key = Hex(writer->Add(Kind::kDocument, document).value());
  ASSERT_OK(writer->Sync());
  EXPECT_EQ(Find(*Open(), Kind::kDocument, document), key);
}

// Whatever write or sync it stops at, one of the master keys opens all, and it can be done again.
TEST_F(KeyringTest, PowerLostWhileTheMasterKeyChangesLeavesOneThatOpensAll) {
  const SecretKey next = SecretKey::Random();
  std::set<bool> changed;  // what was seen
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE("stopped at operation " + std::to_string(fail_at));
    const std::string run = "run" + std::to_string(fail_at);
    const std::string path = folder_ / (run + "/bank.keys");
    ASSERT_OK(Keyring::Create(PosixFileSystem(), path, bank_, master_));
    std::map<RandomNumber, std::string> keys;
    {
      const auto keyring = OpenWith(master_, path);
      for (int i = 0; i < 5; ++i) {
        const RandomNumber number = MakeRandomNumber();
        keys[number] = Hex(keyring->Add(Kind::kDocument, number).value());
      }
      ASSERT_OK(keyring->Sync());
    }
    FaultFileSystem fs(fail_at);
    Status status;
    {
      const auto keyring = Keyring::Open(fs, path, bank_, master_).value();
      status = keyring->ChangeMasterKey(next);
    }
    EXPECT_EQ(status.ok(), !fs.failed());
    fs.LosePower();
    const auto by_old = OpenWith(master_, path);
    const auto by_new = OpenWith(next, path);
    ASSERT_NE(by_old == nullptr, by_new == nullptr);
    changed.insert(by_new != nullptr);
    Keyring& keyring = by_new != nullptr ? *by_new : *by_old;
    for (const auto& [number, key] : keys) {
      EXPECT_EQ(Find(keyring, Kind::kDocument, number), key);
    }
    // A writer, or a change, clears what was left.
    if (by_new != nullptr) {
      ASSERT_OK(keyring.Add(Kind::kDocument, MakeRandomNumber()));
      ASSERT_OK(keyring.Sync());
    } else {
      ASSERT_OK(keyring.ChangeMasterKey(next));
    }
    EXPECT_THAT(PosixFileSystem().List(folder_ / run).value(), ::testing::ElementsAre("bank.keys"));
    const auto done = OpenWith(next, path);
    ASSERT_NE(done, nullptr);
    for (const auto& [number, key] : keys) EXPECT_EQ(Find(*done, Kind::kDocument, number), key);
    if (!fs.failed()) break;
  }
  EXPECT_EQ(changed.size(), 2U);
}

TEST(MasterKeyTest, ComesFromTheEnvironmentOrAFile) {
  const TemporaryFolder folder;
  const std::string hex(64, '7');
  {
    const ScopedVariable key("MSA_MASTER_KEY", hex);
    EXPECT_EQ(HexEncode(LoadMasterKey().value().bytes()), hex);
  }
  {
    const ScopedVariable key("MSA_MASTER_KEY", "0x12");
    EXPECT_EQ(LoadMasterKey().status().code(), StatusCode::kInvalidArgument);
  }
  const ScopedVariable none("MSA_MASTER_KEY", "");
  const ScopedVariable file("MSA_MASTER_KEY_FILE", folder / "deep/master.key");
  const Status missing = LoadMasterKey().status();
  EXPECT_EQ(missing.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(missing.message(), HasSubstr("MSA_MASTER_KEY_FILE"));
  const auto made = LoadMasterKey(/*make=*/true);
  ASSERT_OK(made);
  EXPECT_EQ(HexEncode(LoadMasterKey().value().bytes()), HexEncode(made->bytes()));
  ASSERT_EQ(::chmod((folder / "deep/master.key").c_str(), 0644), 0);
  EXPECT_EQ(LoadMasterKey().status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace msa
