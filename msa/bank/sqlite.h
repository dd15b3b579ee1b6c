// SQLite with our manners: Status instead of codes, statements that cannot leak, values bound by
// type. Used by the catalog and the lexical shards; nothing else includes sqlite3.h.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "msa/base/status.h"

namespace msa {

// The Status for an SQLite result code: kDataLoss for damage, kUnavailable for a lock held
// elsewhere, kResourceExhausted for a full disk or no memory, kFailedPrecondition for a read-only
// file.
Status SqliteStatus(int code, std::string_view what);

// The page size of every database of ours.
inline constexpr int64_t kSqlitePageBytes = 4096;

// Before the first use of SQLite that is no Database: it takes its settings only then.
void InitializeSqlite();

// Bytes that are bound as text or as a blob, whichever they turn out to be.
struct BoundValue {
  std::string bytes;
  bool is_blob = false;
};

// One prepared statement. Not thread-safe. Must not outlive its Database.
class Statement {
 public:
  Statement() = default;

  // Binds parameters 1, 2, … in order and makes the statement ready to step. Text and blobs are
  // borrowed until the next Bind or Reset. An error is kept and returned by Step.
  template <class... Values>
  Statement& Bind(const Values&... values) {
    Reset();
    int index = 0;
    (BindOne(++index, values), ...);
    return *this;
  }

  // Binds one parameter, from 1, as text or as a blob; for statements built at run time.
  void BindAt(size_t index, std::string_view value, bool as_blob);

  // True: a row is there. False: done. After an error or false, the statement is reset.
  Result<bool> Step();
  // Steps to the end; for statements without rows.
  Status Run();
  void Reset();

  // Columns of the current row, from 0. Text and blobs are valid until the next Step or Reset.
  int64_t Int(int column) const { return sqlite3_column_int64(handle_.get(), column); }
  std::string_view Text(int column) const;
  std::span<const std::byte> Blob(int column) const;

  sqlite3_stmt* handle() const { return handle_.get(); }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
  };
  Statement(sqlite3_stmt* handle, size_t most_bytes) : handle_(handle), most_bytes_(most_bytes) {}

  void BindOne(int index, int64_t value);
  void BindOne(int index, std::string_view value);
  void BindOne(int index, std::span<const std::byte> value);
  void BindOne(int index, const BoundValue& value) {
    BindAt(static_cast<size_t>(index), value.bytes, value.is_blob);
  }
  void Keep(int code) {
    if (bind_code_ == SQLITE_OK) bind_code_ = code;
  }

  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  size_t most_bytes_ = SIZE_MAX;
  int bind_code_ = SQLITE_OK;
};

// One connection. Not thread-safe: opened without SQLite's own mutex; callers hold theirs.
class Database {
 public:
  // `flags` as sqlite3_open_v2 takes them, SQLITE_OPEN_NOMUTEX added; `path` may be a file: URI
  // where SQLITE_OPEN_URI is given.
  static Result<Database> Open(const std::string& path, int flags, const char* vfs = nullptr);
  Database() = default;

  // From here on SQLite may not ask for more than `bytes` of memory at once, in what is executed
  // and in statements prepared after this; one that would is damage, kDataLoss. For databases that
  // may hold anything: a length in a record of FTS5 is believed, up to 2 GiB, before it is read.
  void LimitAllocations(size_t bytes) { most_bytes_ = bytes; }

  bool is_open() const { return handle_ != nullptr; }
  sqlite3* handle() const { return handle_.get(); }

  Result<Statement> Prepare(std::string_view sql) const;
  // One or more statements without results.
  Status Execute(const char* sql) const;
  // Moves the WAL's content to the database and empties it: false if somebody who reads or writes
  // in a transaction keeps that from it.
  Result<bool> EmptyWal() const;
  // Of the last failed call.
  Status LastError(std::string_view what) const;

 private:
  struct CloseConnection {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  explicit Database(sqlite3* handle) : handle_(handle) {}
  std::unique_ptr<sqlite3, CloseConnection> handle_;
  size_t most_bytes_ = SIZE_MAX;
};

// Makes all of `to` what `from` is, of one moment and in one transaction.
Status CopyDatabase(const Database& from, const Database& to);

// `path` as a file: URI with `query` ("immutable=1"), special characters escaped.
std::string SqliteUri(std::string_view path, std::string_view query);

}  // namespace msa
