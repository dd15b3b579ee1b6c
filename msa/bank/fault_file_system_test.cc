// What is left when power goes, of names that no synced folder holds.
#include "msa/bank/fault_file_system.h"

#include "msa/bank/bank_test_util.h"

namespace msa {
namespace {

class FaultFileSystemTest : public testing::Test {
 protected:
  FaultFileSystemTest() { std::filesystem::create_directory(root_); }

  // A folder with a file, all of it synced but the folder's own name.
  void MakeFolder(const std::string& folder) {
    ASSERT_OK(fs_.MakeDirectory(folder));
    ASSERT_OK(WriteFileAtomically(fs_, folder + "/file", "content"));
  }

  TemporaryFolder folder_;
  const std::string root_ = folder_ / "root";
  const std::string a_ = root_ + "/a";
  const std::string b_ = root_ + "/b";
  const std::string copy_ = folder_ / "copy";
  FaultFileSystem fs_{1000};
};

bool KeepsAll(const std::string&) { return true; }

TEST_F(FaultFileSystemTest, AFolderWhoseNameWasNotSyncedIsGoneWithAllThatIsInIt) {
  ASSERT_NO_FATAL_FAILURE(MakeFolder(a_));
  fs_.CopyAfterPowerLoss(root_, copy_);
  EXPECT_FALSE(std::filesystem::exists(copy_ + "/a"));
  fs_.CopyAfterPowerLoss(root_, copy_, KeepsAll);
  EXPECT_TRUE(std::filesystem::exists(copy_ + "/a/file"));
  fs_.LosePower();
  EXPECT_FALSE(std::filesystem::exists(a_));
}

TEST_F(FaultFileSystemTest, ANewFolderThatWasRenamedIsGoneToo) {
  ASSERT_NO_FATAL_FAILURE(MakeFolder(a_));
  ASSERT_OK(fs_.Rename(a_, b_));
  fs_.CopyAfterPowerLoss(root_, copy_);
  EXPECT_TRUE(std::filesystem::is_empty(copy_));
  ASSERT_OK(fs_.SyncDirectory(root_));
  fs_.LosePower();
  EXPECT_TRUE(std::filesystem::exists(b_ + "/file"));
}

TEST_F(FaultFileSystemTest, ARenamedFolderHasItsNameOfBefore) {
  ASSERT_NO_FATAL_FAILURE(MakeFolder(a_));
  ASSERT_OK(fs_.SyncDirectory(root_));
  ASSERT_OK(fs_.Rename(a_, b_));
  fs_.CopyAfterPowerLoss(root_, copy_, KeepsAll);
  EXPECT_TRUE(std::filesystem::exists(copy_ + "/b/file"));
  fs_.LosePower();
  EXPECT_TRUE(std::filesystem::exists(a_ + "/file"));
  EXPECT_FALSE(std::filesystem::exists(b_));
}

TEST_F(FaultFileSystemTest, WhatAFileInARenamedFolderHadNotSyncedIsLost) {
  ASSERT_NO_FATAL_FAILURE(MakeFolder(a_));
  {
    const auto file = fs_.Open(a_ + "/file", OpenMode::kReadWrite);
    ASSERT_OK(file);
    ASSERT_OK((*file)->WriteAt(0, AsBytes("CONTENT")));
  }
  ASSERT_OK(fs_.Rename(a_, b_));
  ASSERT_OK(fs_.SyncDirectory(root_));
  fs_.LosePower();
  const auto content = ReadFile(b_ + "/file");
  ASSERT_OK(content);
  EXPECT_EQ(*content, "content");
}

TEST_F(FaultFileSystemTest, AFileThatWasReplacedIsBack) {
  ASSERT_OK(WriteFileAtomically(fs_, a_, "old"));
  ASSERT_OK(WriteFileAtomically(PosixFileSystem(), b_, "new"));
  ASSERT_OK(fs_.Rename(b_, a_));
  fs_.LosePower();
  const auto content = ReadFile(a_);
  ASSERT_OK(content);
  EXPECT_EQ(*content, "old");
}

}  // namespace
}  // namespace msa
