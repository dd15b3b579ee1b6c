#include "msa/bank/image_vfs.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <span>

namespace msa {
namespace {

constexpr char kVfsName[] = "msa-image";

// What xOpen shall open: SQLite passes it a name only. Set for the length of one open.
thread_local const std::shared_ptr<const ShardImage>* opening_image = nullptr;

struct ImageFile {
  sqlite3_file base;
  std::shared_ptr<const ShardImage> image;
};

ImageFile* Self(sqlite3_file* file) { return reinterpret_cast<ImageFile*>(file); }

int Close(sqlite3_file* file) {
  Self(file)->image.~shared_ptr();
  return SQLITE_OK;
}

int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  const ShardImage& image = *Self(file)->image;
  const auto total = static_cast<sqlite3_int64>(image.size());
  const sqlite3_int64 there = std::clamp<sqlite3_int64>(total - offset, 0, size);
  if (there > 0) {
    const std::span bytes(static_cast<std::byte*>(out), static_cast<size_t>(there));
    if (!image.Read(static_cast<size_t>(offset), bytes).ok()) return SQLITE_CORRUPT;
  }
  if (there == size) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + there, 0, static_cast<size_t>(size - there));
  return SQLITE_IOERR_SHORT_READ;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(Self(file)->image->size());
  return SQLITE_OK;
}

int Write(sqlite3_file*, const void*, int, sqlite3_int64) { return SQLITE_READONLY; }
int Truncate(sqlite3_file*, sqlite3_int64) { return SQLITE_READONLY; }
int Sync(sqlite3_file*, int) { return SQLITE_OK; }
int Lock(sqlite3_file*, int) { return SQLITE_OK; }
int CheckReservedLock(sqlite3_file*, int* out) { return *out = 0, SQLITE_OK; }
int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int SectorSize(sqlite3_file*) { return 4096; }
// Immutable: SQLite takes no locks and looks for no journal.
int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_IMMUTABLE; }

constexpr sqlite3_io_methods kMethods = {.iVersion = 1,
                                         .xClose = Close,
                                         .xRead = Read,
                                         .xWrite = Write,
                                         .xTruncate = Truncate,
                                         .xSync = Sync,
                                         .xFileSize = FileSize,
                                         .xLock = Lock,
                                         .xUnlock = Lock,
                                         .xCheckReservedLock = CheckReservedLock,
                                         .xFileControl = FileControl,
                                         .xSectorSize = SectorSize,
                                         .xDeviceCharacteristics = DeviceCharacteristics};

int OpenFile(sqlite3_vfs*, sqlite3_filename, sqlite3_file* file, int, int* out_flags) {
  file->pMethods = nullptr;
  if (opening_image == nullptr) return SQLITE_CANTOPEN;
  new (&Self(file)->image) std::shared_ptr<const ShardImage>(*opening_image);
  file->pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs*, const char*, int) { return SQLITE_READONLY; }
int Access(sqlite3_vfs*, const char*, int, int* out) { return *out = 0, SQLITE_OK; }
int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
  sqlite3_snprintf(size, out, "%s", name);
  return SQLITE_OK;
}

// Registered once; time, sleep and randomness are the default VFS's.
int RegisterVfs() {
  InitializeSqlite();
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs copy = *sqlite3_vfs_find(nullptr);
    copy.iVersion = 1;
    copy.szOsFile = sizeof(ImageFile);
    copy.pNext = nullptr;
    copy.zName = kVfsName;
    copy.xOpen = OpenFile;
    copy.xDelete = Delete;
    copy.xAccess = Access;
    copy.xFullPathname = FullPathname;
    return copy;
  }();
  return sqlite3_vfs_register(&vfs, 0);
}

}  // namespace

Result<Database> OpenImage(std::shared_ptr<const ShardImage> image) {
  static const int registered = RegisterVfs();
  if (registered != SQLITE_OK) return SqliteStatus(registered, "register VFS");
  opening_image = &image;
  auto db = Database::Open("image", SQLITE_OPEN_READONLY, kVfsName);
  opening_image = nullptr;
  if (db.ok()) db->LimitAllocations(MostBytesOfImage(image->size()));
  return db;
}

}  // namespace msa
