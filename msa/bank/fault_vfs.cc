#include "msa/bank/fault_vfs.h"

#include <atomic>
#include <filesystem>
#include <new>

#include "msa/bank/sqlite.h"
#include "msa/base/check.h"

namespace msa {
namespace {

sqlite3_vfs* DefaultVfs() {
  InitializeSqlite();
  return sqlite3_vfs_find(nullptr);
}

std::string NewName() {
  static std::atomic<int> count = 0;
  return "msa-fault-" + std::to_string(count++);
}

// A file that the default VFS has open. Borrowed.
class SqliteFile final : public File {
 public:
  explicit SqliteFile(sqlite3_file* file) : file_(file) {}

  Status ReadAt(int64_t offset, std::span<std::byte> out) const override {
    return Check(file_->pMethods->xRead(file_, out.data(), static_cast<int>(out.size()), offset));
  }
  Status WriteAt(int64_t offset, std::span<const std::byte> data) override {
    if (data.empty()) return OkStatus();
    return Check(
        file_->pMethods->xWrite(file_, data.data(), static_cast<int>(data.size()), offset));
  }
  Status Truncate(int64_t size) override { return Check(file_->pMethods->xTruncate(file_, size)); }
  Status Sync() override { return Check(file_->pMethods->xSync(file_, SQLITE_SYNC_NORMAL)); }
  Result<int64_t> Size() const override {
    sqlite3_int64 size = 0;
    MSA_RETURN_IF_ERROR(Check(file_->pMethods->xFileSize(file_, &size)));
    return size;
  }
  Status Close() override { return OkStatus(); }

 private:
  static Status Check(int code) {
    return code == SQLITE_OK ? OkStatus() : SqliteStatus(code, "SQLite's file");
  }
  sqlite3_file* file_;
};

// What SQLite holds; the default VFS's file comes after it in memory.
struct VfsFile {
  sqlite3_file base;
  FileSystem* fs;
  std::unique_ptr<File> file;
  // The default VFS syncs the folder of a WAL or journal that may be new when it first syncs the
  // file.
  std::string folder_to_sync;
};

VfsFile* Self(sqlite3_file* file) { return reinterpret_cast<VfsFile*>(file); }
sqlite3_file* Real(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(Self(file) + 1); }
const sqlite3_io_methods* RealMethods(sqlite3_file* file) { return Real(file)->pMethods; }

int CodeOf(const Status& status, int failed) { return status.ok() ? SQLITE_OK : failed; }

int Close(sqlite3_file* file) {
  const int code = RealMethods(file)->xClose(Real(file));
  Self(file)->~VfsFile();
  return code;
}
int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  return RealMethods(file)->xRead(Real(file), out, size, offset);
}
int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  const auto* bytes = static_cast<const std::byte*>(data);
  return CodeOf(Self(file)->file->WriteAt(offset, {bytes, static_cast<size_t>(size)}),
                SQLITE_IOERR_WRITE);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  return CodeOf(Self(file)->file->Truncate(size), SQLITE_IOERR_TRUNCATE);
}
int Sync(sqlite3_file* file, int) {
  VfsFile& self = *Self(file);
  if (!self.file->Sync().ok()) return SQLITE_IOERR_FSYNC;
  if (self.folder_to_sync.empty()) return SQLITE_OK;
  if (!self.fs->SyncDirectory(self.folder_to_sync).ok()) return SQLITE_IOERR_DIR_FSYNC;
  self.folder_to_sync.clear();
  return SQLITE_OK;
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return RealMethods(file)->xFileSize(Real(file), size);
}
int Lock(sqlite3_file* file, int level) { return RealMethods(file)->xLock(Real(file), level); }
int Unlock(sqlite3_file* file, int level) { return RealMethods(file)->xUnlock(Real(file), level); }
int CheckReservedLock(sqlite3_file* file, int* out) {
  return RealMethods(file)->xCheckReservedLock(Real(file), out);
}
int FileControl(sqlite3_file* file, int op, void* argument) {
  return RealMethods(file)->xFileControl(Real(file), op, argument);
}
int SectorSize(sqlite3_file* file) { return RealMethods(file)->xSectorSize(Real(file)); }
int DeviceCharacteristics(sqlite3_file* file) {
  return RealMethods(file)->xDeviceCharacteristics(Real(file));
}
int ShmMap(sqlite3_file* file, int page, int bytes, int extend, void volatile** out) {
  return RealMethods(file)->xShmMap(Real(file), page, bytes, extend, out);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  return RealMethods(file)->xShmLock(Real(file), offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) { RealMethods(file)->xShmBarrier(Real(file)); }
int ShmUnmap(sqlite3_file* file, int remove) {
  return RealMethods(file)->xShmUnmap(Real(file), remove);
}

constexpr sqlite3_io_methods kMethods = {.iVersion = 2,  // with shared memory, without mappings
                                         .xClose = Close,
                                         .xRead = Read,
                                         .xWrite = Write,
                                         .xTruncate = Truncate,
                                         .xSync = Sync,
                                         .xFileSize = FileSize,
                                         .xLock = Lock,
                                         .xUnlock = Unlock,
                                         .xCheckReservedLock = CheckReservedLock,
                                         .xFileControl = FileControl,
                                         .xSectorSize = SectorSize,
                                         .xDeviceCharacteristics = DeviceCharacteristics,
                                         .xShmMap = ShmMap,
                                         .xShmLock = ShmLock,
                                         .xShmBarrier = ShmBarrier,
                                         .xShmUnmap = ShmUnmap};

}  // namespace

FaultVfs::FaultVfs(FileSystem& fs, Wrap wrap)
    : fs_(fs), wrap_(std::move(wrap)), name_(NewName()), vfs_(*DefaultVfs()) {
  vfs_.szOsFile += static_cast<int>(sizeof(VfsFile));
  vfs_.pNext = nullptr;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = OpenFile;
  vfs_.xDelete = Delete;
  MSA_CHECK(sqlite3_vfs_register(&vfs_, 0) == SQLITE_OK);
}

FaultVfs::~FaultVfs() { sqlite3_vfs_unregister(&vfs_); }

int FaultVfs::OpenFile(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                       int* out_flags) {
  const auto* self = static_cast<const FaultVfs*>(vfs->pAppData);
  sqlite3_vfs* real = DefaultVfs();
  if (path == nullptr) return real->xOpen(real, path, file, flags, out_flags);
  file->pMethods = nullptr;
  const bool may_be_new = (flags & SQLITE_OPEN_CREATE) != 0;
  const bool is_new = may_be_new && !self->fs_.Exists(path);
  const int code = real->xOpen(real, path, Real(file), flags, out_flags);
  if (code != SQLITE_OK) return code;
  auto* opened = new (file) VfsFile{{&kMethods}, &self->fs_, nullptr, {}};
  opened->file = self->wrap_(path, std::make_unique<SqliteFile>(Real(file)), is_new);
  if (may_be_new && (flags & SQLITE_OPEN_MAIN_DB) == 0) {
    opened->folder_to_sync = std::filesystem::path(path).parent_path();
  }
  return SQLITE_OK;
}

int FaultVfs::Delete(sqlite3_vfs* vfs, const char* path, int sync_folder) {
  FileSystem& fs = static_cast<const FaultVfs*>(vfs->pAppData)->fs_;
  if (!fs.Exists(path)) return SQLITE_IOERR_DELETE_NOENT;
  if (!fs.Remove(path).ok()) return SQLITE_IOERR_DELETE;
  if (sync_folder == 0) return SQLITE_OK;
  return CodeOf(fs.SyncDirectory(std::filesystem::path(path).parent_path()),
                SQLITE_IOERR_DIR_FSYNC);
}

}  // namespace msa
