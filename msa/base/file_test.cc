#include "msa/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <utility>

#include "msa/base/test_allocations.h"
#include "msa/base/test_file_system.h"
#include "msa/base/test_support.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The system's files until `operations` calls that change something have passed; then every one
// fails, as if the machine had stopped there.
class StoppingFileSystem final : public TestFileSystem {
 public:
  explicit StoppingFileSystem(int operations) : left_(operations) {}
  bool stopped() const { return left_ < 0; }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    MSA_RETURN_IF_ERROR(Step());
    MSA_ASSIGN_OR_RETURN(auto file, TestFileSystem::Open(path, mode));
    return std::make_unique<StoppingFile>(this, std::move(file));
  }
  Status Remove(const std::string& path) override {
    MSA_RETURN_IF_ERROR(Step());
    return TestFileSystem::Remove(path);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    MSA_RETURN_IF_ERROR(Step());
    return TestFileSystem::Rename(from, to);
  }
  Status SyncDirectory(const std::string& path) override {
    MSA_RETURN_IF_ERROR(Step());
    return TestFileSystem::SyncDirectory(path);
  }

 private:
  class StoppingFile final : public TestFile {
   public:
    StoppingFile(StoppingFileSystem* fs, std::unique_ptr<File> base)
        : TestFile(std::move(base)), fs_(fs) {}
    Status WriteAt(int64_t offset, std::span<const std::byte> data) override {
      const Status status = fs_->Step();
      // A write may stop half way.
      const size_t written = status.ok() ? data.size() : data.size() / 2;
      MSA_RETURN_IF_ERROR(TestFile::WriteAt(offset, data.first(written)));
      return status;
    }
    Status Truncate(int64_t size) override {
      MSA_RETURN_IF_ERROR(fs_->Step());
      return TestFile::Truncate(size);
    }
    Status Sync() override {
      MSA_RETURN_IF_ERROR(fs_->Step());
      return TestFile::Sync();
    }

   private:
    StoppingFileSystem* fs_;
  };

  Status Step() { return --left_ < 0 ? IoError("stopped") : OkStatus(); }

  int left_;
};

TEST(File, ReadsWhatWasWrittenAnywhere) {
  const TestFolder folder;
  auto file = *PosixFileSystem().Open(folder.File("a"), OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(5, AsBytes("world")).ok());  // bytes 0 to 4 become zeros
  ASSERT_TRUE(file->WriteAt(0, AsBytes("hello")).ok());
  EXPECT_EQ(*file->Size(), 10);
  std::array<std::byte, 4> out;
  ASSERT_TRUE(file->ReadAt(3, out).ok());
  EXPECT_EQ(AsChars(out), "lowo");
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(file->Close().ok());
}

TEST(File, ReadingPastTheEndIsDataLossThatNamesThePlace) {
  const TestFolder folder;
  const auto file = *PosixFileSystem().Open(folder.Write("a", "1234567"), OpenMode::kRead);
  std::array<std::byte, 4> out;
  const Status status = file->ReadAt(5, out);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("ends at byte 7, expected at least 9"));
}

TEST(File, CreateKeepsWhatIsThereAndTruncateCutsIt) {
  const TestFolder folder;
  auto file = *PosixFileSystem().Open(folder.Write("a", "1234567"), OpenMode::kCreate);
  EXPECT_EQ(*file->Size(), 7);
  ASSERT_TRUE(file->Truncate(2).ok());
  EXPECT_EQ(*ReadFile(folder.File("a")), "12");
}

TEST(FileSystem, MissingFilesAreNotFoundByName) {
  const TestFolder folder;
  const Status status = ReadFile(folder.File("absent")).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr(folder.File("absent")));
  EXPECT_EQ(PosixFileSystem().Remove(folder.File("absent")).code(), StatusCode::kNotFound);
  EXPECT_EQ(MappedFile::Open(folder.File("absent")).status().code(), StatusCode::kNotFound);
}

TEST(FileSystem, ListsNamesInOrder) {
  const TestFolder folder;
  for (const char* name : {"b", "a", ".hidden", "c"}) folder.Write(name, "");
  EXPECT_THAT(*PosixFileSystem().List(folder.path()), ElementsAre(".hidden", "a", "b", "c"));
}

TEST(FileSystem, MakingAFolderTwiceIsFineButNotOverAFile) {
  const TestFolder folder;
  FileSystem& fs = PosixFileSystem();
  EXPECT_TRUE(fs.MakeDirectory(folder.File("d")).ok());
  EXPECT_TRUE(fs.MakeDirectory(folder.File("d")).ok());
  EXPECT_EQ(fs.MakeDirectory(folder.Write("f", "")).code(), StatusCode::kAlreadyExists);
}

TEST(ReadRange, ReadsWhatIsThereAndAllocatesNothingForTheRest) {
  const TestMemoryFile content("0123456789");
  const auto file = PosixFileSystem().Open(content.path(), OpenMode::kRead).value();
  std::vector<std::byte> bytes;
  ASSERT_TRUE(ReadRange(*file, 3, 7, &bytes).ok());
  EXPECT_EQ(AsChars(bytes), "3456789");
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const auto& [offset, length] : std::vector<std::pair<int64_t, int64_t>>{
           {4, 7}, {-1, 2}, {2, -1}, {0, kMost}, {kMost, kMost}, {11, 0}}) {
    ResetLargestAllocation();
    EXPECT_EQ(ReadRange(*file, offset, length, &bytes).code(), StatusCode::kDataLoss) << offset;
    EXPECT_LT(LargestAllocation(), 1000);
  }
}

TEST(ReadFile, RefusesFilesAboveTheLimit) {
  const TestFolder folder;
  const std::string path = folder.Write("a", "12345");
  EXPECT_EQ(*ReadFile(path, 5), "12345");
  EXPECT_EQ(ReadFile(path, 4).status().code(), StatusCode::kResourceExhausted);
}

TEST(MappedFile, MapsTheWholeFileAndMovesWithItsObject) {
  const TestFolder folder;
  MappedFile a = *MappedFile::Open(folder.Write("a", "mapped"));
  const MappedFile b = std::move(a);
  EXPECT_EQ(AsChars(b.bytes()), "mapped");
  a = *MappedFile::Open(folder.Write("b", ""));
  EXPECT_TRUE(a.bytes().empty());
}

TEST(MappedFile, AFolderIsNoFile) {
  const TestFolder folder;
  EXPECT_EQ(MappedFile::Open(folder.path()).status().code(), StatusCode::kInvalidArgument);
}

TEST(WriteFileAtomically, ReplacesTheContentAndLeavesNothingElse) {
  const TestFolder folder;
  const std::string path = folder.Write("a", "a longer old content");
  ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), path, "new").ok());
  EXPECT_EQ(*ReadFile(path), "new");
  EXPECT_THAT(*PosixFileSystem().List(folder.path()), ElementsAre("a"));
}

TEST(WriteFileAtomically, StoppedAnywhereTheFileIsOldOrNewAndTheNextWriteSucceeds) {
  int completed_at = -1;
  for (int operations = 0; completed_at < 0; ++operations) {
    ASSERT_LT(operations, 20);
    const TestFolder folder;
    const std::string path = folder.Write("a", "old content");
    StoppingFileSystem fs(operations);
    const Status status = WriteFileAtomically(fs, path, "new");
    EXPECT_EQ(status.ok(), !fs.stopped());
    const std::string content = *ReadFile(path);
    EXPECT_TRUE(content == "old content" || content == "new") << content;
    if (status.ok()) {
      EXPECT_EQ(content, "new");
      completed_at = operations;
    }
    ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), path, "next").ok());
    EXPECT_EQ(*ReadFile(path), "next");
  }
  EXPECT_GE(completed_at, 5);  // open, truncate, write, sync, rename, sync of the folder
}

}  // namespace
}  // namespace msa
