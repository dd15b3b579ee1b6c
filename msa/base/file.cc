#include "msa/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace msa {
namespace {

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override {
    if (fd_ >= 0) ::close(fd_);
  }

  Status ReadAt(int64_t offset, std::span<std::byte> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n =
          ::pread(fd_, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("read " + path_, errno);
      if (n == 0) {
        return DataLoss(
            path_ + " ends at byte " + std::to_string(offset + static_cast<int64_t>(done)) +
            ", expected at least " + std::to_string(offset + static_cast<int64_t>(out.size())));
      }
      done += static_cast<size_t>(n);
    }
    return OkStatus();
  }

  Status WriteAt(int64_t offset, std::span<const std::byte> data) override {
    size_t done = 0;
    while (done < data.size()) {
      const ssize_t n = ::pwrite(fd_, data.data() + done, data.size() - done,
                                 offset + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("write " + path_, errno);
      done += static_cast<size_t>(n);
    }
    return OkStatus();
  }

  Status Truncate(int64_t size) override {
    return ::ftruncate(fd_, size) == 0 ? OkStatus() : ErrnoStatus("truncate " + path_, errno);
  }

  Status Sync() override {
    return ::fsync(fd_) == 0 ? OkStatus() : ErrnoStatus("sync " + path_, errno);
  }

  Result<int64_t> Size() const override {
    struct stat st{};
    if (::fstat(fd_, &st) != 0) return ErrnoStatus("stat " + path_, errno);
    return static_cast<int64_t>(st.st_size);
  }

  Status Close() override {
    const int fd = std::exchange(fd_, -1);
    return fd < 0 || ::close(fd) == 0 ? OkStatus() : ErrnoStatus("close " + path_, errno);
  }

 private:
  int fd_;
  std::string path_;
};

class Posix final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    flags |= mode == OpenMode::kRead ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::kCreate) flags |= O_CREAT;
    const int fd = ::open(path.c_str(), flags, 0666);
    if (fd < 0) return ErrnoStatus("open " + path, errno);
    return std::make_unique<PosixFile>(fd, path);
  }

  Status Remove(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? OkStatus() : ErrnoStatus("remove " + path, errno);
  }

  Status Rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0
               ? OkStatus()
               : ErrnoStatus("rename " + from + " to " + to, errno);
  }

  Status MakeDirectory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0777) == 0) return OkStatus();
    const int error = errno;
    std::error_code ignored;
    if (error == EEXIST && std::filesystem::is_directory(path, ignored)) return OkStatus();
    return ErrnoStatus("make folder " + path, error);
  }

  Status SyncDirectory(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus("open folder " + path, errno);
    const Status status = ::fsync(fd) == 0 ? OkStatus() : ErrnoStatus("sync folder " + path, errno);
    ::close(fd);
    return status;
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return ErrnoStatus("list " + path, errno);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    ::closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }
};

}  // namespace

FileSystem& PosixFileSystem() {
  static Posix fs;
  return fs;
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus("open " + path, errno);
  struct stat st{};
  if (::fstat(fd, &st) != 0) {
    const int error = errno;
    ::close(fd);
    return ErrnoStatus("stat " + path, error);
  }
  if (!S_ISREG(st.st_mode)) {
    ::close(fd);
    return InvalidArgument(path + " is not a regular file");
  }
  if (st.st_size == 0) {
    ::close(fd);
    return MappedFile();
  }
  void* address = ::mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);
  if (address == MAP_FAILED) return ErrnoStatus("map " + path, error);
  return MappedFile({static_cast<const std::byte*>(address), static_cast<size_t>(st.st_size)});
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::string_view WithoutSlashesAtEnd(std::string_view path) {
  const size_t end = path.find_last_not_of('/');
  return path.substr(0, end == path.npos ? path.size() : end + 1);
}

Status SyncNameOf(FileSystem& fs, std::string_view path) {
  const std::filesystem::path folder =
      std::filesystem::path(WithoutSlashesAtEnd(path)).parent_path();
  return fs.SyncDirectory(folder.empty() ? "." : folder.string());
}

Status ReadRange(const File& file, int64_t offset, int64_t length, std::vector<std::byte>* out) {
  MSA_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (offset < 0 || length < 0 || length > size || offset > size - length) {
    return DataLoss("bytes " + std::to_string(offset) + " + " + std::to_string(length) +
                    " lie outside the file, which has " + std::to_string(size));
  }
  out->resize(static_cast<size_t>(length));
  return file.ReadAt(offset, *out);
}

Result<std::string> ReadFile(const std::string& path, int64_t limit_bytes) {
  MSA_ASSIGN_OR_RETURN(auto file, PosixFileSystem().Open(path, OpenMode::kRead));
  MSA_ASSIGN_OR_RETURN(const int64_t size, file->Size());
  if (size > limit_bytes) {
    return ResourceExhausted(path + " has " + std::to_string(size) + " bytes, at most " +
                             std::to_string(limit_bytes) + " are read");
  }
  std::string content(static_cast<size_t>(size), '\0');
  MSA_RETURN_IF_ERROR(file->ReadAt(0, std::as_writable_bytes(std::span(content))));
  return content;
}

Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  MSA_ASSIGN_OR_RETURN(auto file, fs.Open(temporary, OpenMode::kCreate));
  MSA_RETURN_IF_ERROR(file->Truncate(0));
  MSA_RETURN_IF_ERROR(file->WriteAt(0, AsBytes(content)));
  MSA_RETURN_IF_ERROR(file->Sync());
  MSA_RETURN_IF_ERROR(file->Close());
  MSA_RETURN_IF_ERROR(fs.Rename(temporary, path));
  return SyncNameOf(fs, path);
}

}  // namespace msa
