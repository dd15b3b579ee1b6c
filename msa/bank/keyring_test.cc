#include "msa/bank/keyring.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <map>
#include <random>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/fault_file_system.h"

namespace msa {
namespace {

using Kind = Keyring::Kind;

class KeyringTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(Keyring::Create(PosixFileSystem(), path_, bank_, master_)); }

  std::unique_ptr<Keyring> Open(FileSystem& fs = PosixFileSystem()) {
    auto keyring = Keyring::Open(fs, path_, bank_, master_);
    EXPECT_TRUE(keyring.ok()) << keyring.status();
    return keyring.ok() ? *std::move(keyring) : nullptr;
  }
  static std::string Hex(const SecretKey& key) { return HexEncode(key.bytes()); }
  // Empty: there is none.
  static std::string Find(Keyring& keyring, Kind kind, const RandomNumber& number) {
    const auto key = keyring.Find(kind, number);
    EXPECT_TRUE(key.ok()) << key.status();
    return key.ok() && *key ? Hex(**key) : "";
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
  EXPECT_THAT(wrong_key.message(), ::testing::HasSubstr("MSA_MASTER_KEY_FILE"));
  EXPECT_EQ(code(MakeRandomNumber(), master_).code(), StatusCode::kDataLoss);
  const Status missing =
      Keyring::Open(PosixFileSystem(), folder_ / "none", bank_, master_).status();
  EXPECT_EQ(missing.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(missing.message(), ::testing::HasSubstr("MSA_KEYRINGS"));
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
    if (bytes == AsChars(document) || bytes.find_first_not_of('\0') == bytes.npos) continue;
    if (after.compare(begin, 16, bytes) != 0) continue;
    EXPECT_LT(begin, size_t{128 + 32}) << "bytes of a sealed key stayed at " << begin;
  }
  EXPECT_EQ(after.find(AsChars(shard)), std::string::npos);
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
  EXPECT_THAT(missing.message(), ::testing::HasSubstr("MSA_MASTER_KEY_FILE"));
  const auto made = LoadMasterKey(/*make=*/true);
  ASSERT_OK(made);
  EXPECT_EQ(HexEncode(LoadMasterKey().value().bytes()), HexEncode(made->bytes()));
  ASSERT_EQ(::chmod((folder / "deep/master.key").c_str(), 0644), 0);
  EXPECT_EQ(LoadMasterKey().status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace msa
