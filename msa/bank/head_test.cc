#include "msa/bank/head.h"

#include "msa/bank/bank_test_util.h"

namespace msa {
namespace {

class HeadTest : public testing::Test {
 protected:
  void SetUp() override {
    auto file = PosixFileSystem().Open(folder_ / "head", OpenMode::kCreate);
    ASSERT_OK(file);
    file_ = *std::move(file);
    bank_.fill(std::byte{7});
    for (int64_t commit : {4, 5}) {
      heads_.push_back({.commit_number = commit,
                        .revision = commit + 1,
                        .chain_length = 9,
                        .chain_head = {},
                        .erase_epoch = 2});
    }
    ASSERT_OK(InitializeHead(*file_, bank_, heads_[0]));
    ASSERT_OK(WriteHead(*file_, bank_, heads_[1]));
  }
  void Flip(int64_t offset) {
    std::byte byte{};
    ASSERT_OK(file_->ReadAt(offset, {&byte, 1}));
    byte ^= std::byte{0x10};
    ASSERT_OK(file_->WriteAt(offset, {&byte, 1}));
  }

  TemporaryFolder folder_;
  std::unique_ptr<File> file_;
  BankId bank_{};
  std::vector<Head> heads_;  // older, newer
};

TEST_F(HeadTest, NewerSlotCounts) {
  const auto head = ReadHead(*file_, bank_);
  ASSERT_OK(head);
  EXPECT_EQ(*head, heads_[1]);
}

TEST_F(HeadTest, AnyFlippedByteOfTheNewerSlotLeavesTheOlderOne) {
  for (int64_t byte = 0; byte < 128; ++byte) {
    Flip(4096 + byte);
    const auto head = ReadHead(*file_, bank_);
    ASSERT_OK(head);
    EXPECT_EQ(*head, heads_[0]) << "byte " << byte;
    Flip(4096 + byte);
  }
}

TEST_F(HeadTest, BothSlotsDamagedIsDataLoss) {
  Flip(30);
  Flip(4096 + 30);
  EXPECT_EQ(ReadHead(*file_, bank_).status().code(), StatusCode::kDataLoss);
}

TEST_F(HeadTest, AnotherBanksHeadIsDataLoss) {
  BankId other{};
  EXPECT_EQ(ReadHead(*file_, other).status().code(), StatusCode::kDataLoss);
}

TEST_F(HeadTest, ShortFileIsDataLoss) {
  ASSERT_OK(file_->Truncate(5000));
  EXPECT_EQ(ReadHead(*file_, bank_).status().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace msa
