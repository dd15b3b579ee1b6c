#include "msa/bank/sqlite.h"

#include <cctype>
#include <utility>

namespace msa {
namespace {

// What this thread may ask for at once.
thread_local size_t most_bytes = SIZE_MAX;
// A call since the limit was set has asked for more.
thread_local bool asked_for_more = false;

class AllocationLimit {
 public:
  explicit AllocationLimit(size_t bytes) : before_(std::exchange(most_bytes, bytes)) {
    asked_for_more = false;
  }
  ~AllocationLimit() { most_bytes = before_; }
  AllocationLimit(const AllocationLimit&) = delete;

 private:
  const size_t before_;
};

sqlite3_mem_methods system_memory;

bool IsAllowed(int bytes) {
  const bool allowed = static_cast<size_t>(bytes) <= most_bytes;
  asked_for_more = asked_for_more || !allowed;
  return allowed;
}

void* Allocate(int bytes) { return IsAllowed(bytes) ? system_memory.xMalloc(bytes) : nullptr; }

void* Reallocate(void* old, int bytes) {
  return IsAllowed(bytes) ? system_memory.xRealloc(old, bytes) : nullptr;
}

}  // namespace

void InitializeSqlite() {
  // Where somebody else of the process has used SQLite before, its memory stays without limits.
  static const bool limited [[maybe_unused]] = [] {
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) != SQLITE_OK) return false;
    sqlite3_mem_methods memory = system_memory;
    memory.xMalloc = Allocate;
    memory.xRealloc = Reallocate;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) == SQLITE_OK;
  }();
}

Status SqliteStatus(int code, std::string_view what) {
  const std::string message = std::string(what) + ": " + sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return DataLoss(message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return Unavailable(message);
    case SQLITE_FULL: return ResourceExhausted(message + "; free space and run it again");
    case SQLITE_NOMEM:
      if (asked_for_more) return DataLoss(message + "; a record claims more than can be there");
      return ResourceExhausted(message);
    case SQLITE_TOOBIG: return ResourceExhausted(message);
    case SQLITE_READONLY:
    case SQLITE_PERM: return FailedPrecondition(message);
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR: return IoError(message);
    default: return Internal(message);
  }
}

Result<bool> Statement::Step() {
  if (bind_code_ != SQLITE_OK) {
    const int code = bind_code_;
    Reset();
    return SqliteStatus(code, "bind");
  }
  const AllocationLimit limit(most_bytes_);
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_.get());
    return false;
  }
  sqlite3* db = sqlite3_db_handle(handle_.get());
  Status status = SqliteStatus(sqlite3_extended_errcode(db), sqlite3_errmsg(db));
  Reset();
  return status;
}

Status Statement::Run() {
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return OkStatus();
  }
}

void Statement::Reset() {
  sqlite3_reset(handle_.get());
  bind_code_ = SQLITE_OK;
}

std::string_view Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  const int size = sqlite3_column_bytes(handle_.get(), column);
  return text == nullptr ? std::string_view() : std::string_view(text, static_cast<size_t>(size));
}

std::span<const std::byte> Statement::Blob(int column) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(handle_.get(), column));
  const int size = sqlite3_column_bytes(handle_.get(), column);
  return data == nullptr ? std::span<const std::byte>()
                         : std::span<const std::byte>(data, static_cast<size_t>(size));
}

void Statement::BindAt(size_t index, std::string_view value, bool as_blob) {
  if (as_blob) {
    BindOne(static_cast<int>(index), std::as_bytes(std::span(value)));
  } else {
    BindOne(static_cast<int>(index), value);
  }
}

void Statement::BindOne(int index, int64_t value) {
  Keep(sqlite3_bind_int64(handle_.get(), index, value));
}

void Statement::BindOne(int index, std::string_view value) {
  // A null pointer would bind NULL; an empty string is not that.
  const char* data = value.data() == nullptr ? "" : value.data();
  Keep(sqlite3_bind_text64(handle_.get(), index, data, value.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Statement::BindOne(int index, std::span<const std::byte> value) {
  const void* data = value.data() == nullptr ? static_cast<const void*>("") : value.data();
  Keep(sqlite3_bind_blob64(handle_.get(), index, data, value.size(), SQLITE_STATIC));
}

Result<Database> Database::Open(const std::string& path, int flags, const char* vfs) {
  InitializeSqlite();
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, vfs);
  Database db(handle);  // also after an error, SQLite wants it closed
  if (code != SQLITE_OK) return SqliteStatus(code, "open " + path);
  sqlite3_extended_result_codes(handle, 1);
  return db;
}

Result<Statement> Database::Prepare(std::string_view sql) const {
  const AllocationLimit limit(most_bytes_);
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return LastError("prepare");
  return Statement(statement, most_bytes_);
}

Status Database::Execute(const char* sql) const {
  const AllocationLimit limit(most_bytes_);
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? OkStatus() : LastError(sql);
}

Result<bool> Database::EmptyWal() const {
  MSA_ASSIGN_OR_RETURN(Statement checkpoint, Prepare("PRAGMA wal_checkpoint(TRUNCATE)"));
  MSA_ASSIGN_OR_RETURN(const bool row, checkpoint.Step());
  return row && checkpoint.Int(0) == 0;
}

Status Database::LastError(std::string_view what) const {
  return SqliteStatus(sqlite3_extended_errcode(handle_.get()),
                      std::string(what) + ": " + sqlite3_errmsg(handle_.get()));
}

Status CopyDatabase(const Database& from, const Database& to) {
  sqlite3_backup* const copy = sqlite3_backup_init(to.handle(), "main", from.handle(), "main");
  if (copy == nullptr) return to.LastError("copy the catalog");
  const int code = sqlite3_backup_step(copy, -1);
  const int ended = sqlite3_backup_finish(copy);
  if (code == SQLITE_DONE && ended == SQLITE_OK) return OkStatus();
  return SqliteStatus(ended != SQLITE_OK ? ended : code, "copy the catalog");
}

std::string SqliteUri(std::string_view path, std::string_view query) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string uri = "file:";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '/' || c == '.' || c == '-' || c == '_') {
      uri += c;
    } else {
      uri += '%';
      uri += kDigits[byte >> 4];
      uri += kDigits[byte & 15];
    }
  }
  return uri + "?" + std::string(query);
}

}  // namespace msa
