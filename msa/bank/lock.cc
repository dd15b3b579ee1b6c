#include "msa/bank/lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace msa {
namespace {

constexpr int64_t kRecordBytes = 64;
constexpr int64_t kRecords = 1024;

struct Record {
  int64_t process_id;
  int64_t epoch;
  std::array<int64_t, 6> reserved;
};
static_assert(sizeof(Record) == kRecordBytes);

// False: somebody else holds it. Open-file-description locks, unlike the older kind, also exclude
// other holders in this process and survive the closing of unrelated descriptors.
Result<bool> TryLock(int fd, int64_t record, const std::string& path) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = record * kRecordBytes;
  lock.l_len = 1;
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return ErrnoStatus("lock " + path, errno);
}

Status WriteRecord(int fd, int64_t record, int64_t epoch) {
  const Record content{::getpid(), epoch, {}};
  const ssize_t n = ::pwrite(fd, &content, sizeof(content), record * kRecordBytes);
  return n == sizeof(content) ? OkStatus() : ErrnoStatus("write lock record", n < 0 ? errno : EIO);
}

Result<int> OpenLockFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus("open " + path, errno);
  return fd;
}

}  // namespace

Result<LockRecord> LockRecord::AcquireWriter(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const int fd, OpenLockFile(path));
  LockRecord lock(fd, 0);
  MSA_ASSIGN_OR_RETURN(const bool mine, TryLock(fd, 0, path));
  if (!mine) {
    Record holder{};
    const bool known = ::pread(fd, &holder, sizeof(holder), 0) == sizeof(holder);
    return Unavailable(path + ": process " + (known ? std::to_string(holder.process_id) : "?") +
                       " is writing to this bank; wait until it is done");
  }
  MSA_RETURN_IF_ERROR(WriteRecord(fd, 0, 0));
  return lock;
}

Result<LockRecord> LockRecord::AcquireReader(const std::string& path) {
  MSA_ASSIGN_OR_RETURN(const int fd, OpenLockFile(path));
  LockRecord lock(fd, 0);
  for (int64_t record = 1; record < kRecords; ++record) {
    MSA_ASSIGN_OR_RETURN(const bool mine, TryLock(fd, record, path));
    if (!mine) continue;
    lock.record_ = record;
    MSA_RETURN_IF_ERROR(WriteRecord(fd, record, 0));
    return lock;
  }
  return ResourceExhausted(path + ": " + std::to_string(kRecords - 1) +
                           " readers have this bank open");
}

Result<std::vector<LockRecord::Holder>> LockRecord::FindReadersBehind(const std::string& path,
                                                                      int64_t epoch) {
  MSA_ASSIGN_OR_RETURN(const int fd, OpenLockFile(path));
  const LockRecord closes(fd, 0);
  std::vector<Holder> behind;
  for (int64_t record = 1; record < kRecords; ++record) {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = record * kRecordBytes;
    lock.l_len = 1;
    if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) return ErrnoStatus("lock " + path, errno);
    if (lock.l_type == F_UNLCK) continue;
    // One that has just taken the record may not have written it yet; then it counts as behind.
    Record holder{};
    const ssize_t n = ::pread(fd, &holder, sizeof(holder), record * kRecordBytes);
    if (n < 0) return ErrnoStatus("read " + path, errno);
    if (n < static_cast<ssize_t>(sizeof(holder)) || holder.epoch < epoch) {
      behind.push_back({holder.process_id, holder.epoch});
    }
  }
  return behind;
}

LockRecord::LockRecord(LockRecord&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), record_(other.record_) {}

LockRecord& LockRecord::operator=(LockRecord&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(record_, other.record_);
  return *this;
}

LockRecord::~LockRecord() {
  if (fd_ >= 0) ::close(fd_);
}

Status LockRecord::ConfirmEpoch(int64_t epoch) { return WriteRecord(fd_, record_, epoch); }

}  // namespace msa
