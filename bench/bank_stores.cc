#include "bank_stores.h"

#include <filesystem>

#include "bank_data.h"
#include "msa/bank/sqlite.h"

namespace msa::bench {
namespace {

class BankStore final : public Store {
 public:
  BankStore(const std::string& folder, bool encrypt) : Store(folder) {
    Require(Bank::Create(folder, {.encrypt = encrypt}).status());
  }

  void Open() override { bank_ = Require(Bank::Open(folder())); }
  void Close() override {
    writer_.reset();
    bank_.reset();
  }

  void Put(const NewDocument& document) override { Require(writer().Add(document)); }
  int64_t Commit() override { return Require(writer().Commit("bench")).value; }
  void Revert(int64_t revision) override {
    Require(writer().Revert(RevisionId{revision}, "bench"));
  }
  void Erase(const std::string& key) override {
    const auto report = Require(writer().Erase({.documents = {key}, .where = {}}, "bench"));
    if (!report.waits_for.empty()) throw std::runtime_error("waits for " + report.waits_for);
  }

  std::string FirstListed() override {
    std::string key;
    Require(Require(bank_->Latest())->ForEachDocument({}, [&](const DocumentInfo& info) {
      key = info.key;
      return false;
    }));
    return key;
  }
  int64_t Search(const std::string& words) override {
    return std::ssize(Require(Require(bank_->Latest())->SearchLexical(words, 10, {})));
  }
  int64_t CountDocuments() override { return Require(Require(bank_->Latest())->Stats()).documents; }

 private:
  BankWriter& writer() {
    if (writer_ == nullptr) writer_ = Require(bank_->StartWrite());
    return *writer_;
  }

  std::unique_ptr<Bank> bank_;
  std::unique_ptr<BankWriter> writer_;
};

// A row is a version; `born` says in which revision it came, `died` in which it went.
constexpr char kFields[] = "id, key, title, text, tokens, path, type, born";
constexpr char kSchema[] = R"sql(
PRAGMA journal_mode=WAL;
CREATE TABLE revisions(id INTEGER PRIMARY KEY, time INTEGER, author TEXT, message TEXT);
CREATE TABLE documents(
  id INTEGER PRIMARY KEY, key TEXT UNIQUE, title TEXT, text TEXT, tokens BLOB, path TEXT, type TEXT,
  born INTEGER);
CREATE INDEX documents_by_birth ON documents(born);
CREATE TABLE history(
  id INTEGER, key TEXT, title TEXT, text TEXT, tokens BLOB, path TEXT, type TEXT, born INTEGER,
  died INTEGER);
CREATE INDEX history_by_document ON history(id, born);
CREATE VIRTUAL TABLE search USING fts5(
  title, text, content='documents', content_rowid='id',
  tokenize='porter unicode61 remove_diacritics 2');
)sql";

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(const std::string& folder) : Store(folder) {
    std::filesystem::create_directory(folder);
    Connect();
    Require(db_.Execute(kSchema));
    Close();
  }

  void Open() override {
    Connect();
    find_ = Prepare("SELECT id FROM documents WHERE key = ?1");
    unindex_ = Prepare(
        "INSERT INTO search(search, rowid, title, text)"
        " SELECT 'delete', id, title, text FROM documents WHERE id = ?1");
    keep_ = Prepare(std::string("INSERT INTO history SELECT ") + kFields +
                    ", ?2 FROM documents WHERE id = ?1");
    remove_ = Prepare("DELETE FROM documents WHERE id = ?1");
    insert_ = Prepare("INSERT INTO documents VALUES(nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    index_ = Prepare(
        "INSERT INTO search(rowid, title, text)"
        " SELECT id, title, text FROM documents WHERE id = ?1");
    restore_ = Prepare(
        "INSERT INTO documents SELECT id, key, title, text, tokens, path, type, ?3"
        " FROM history WHERE id = ?1 AND born <= ?2 ORDER BY born DESC LIMIT 1");
  }
  void Close() override {
    for (Statement* s : {&find_, &unindex_, &keep_, &remove_, &insert_, &index_, &restore_})
      *s = {};
    db_ = {};
  }

  void Put(const NewDocument& document) override {
    Begin();
    int64_t id = 0;
    if (Require(find_.Bind(document.key).Step())) {
      id = find_.Int(0);
      find_.Reset();
      TakeAway(id);
    }
    std::string tokens;
    for (const NewPassage& passage : document.passages) {
      tokens += AsChars(std::as_bytes(std::span(passage.tokens)));
    }
    Require(insert_
                .Bind(id, document.key, document.title, document.text, AsBytes(tokens),
                      document.source_path, document.media_type, revision_)
                .Run());
    Require(index_.Bind(id == 0 ? sqlite3_last_insert_rowid(db_.handle()) : id).Run());
  }

  int64_t Commit() override {
    Require(Prepare("INSERT INTO revisions VALUES(?1, unixepoch(), 'bench', 'bench')")
                .Bind(revision_)
                .Run());
    Require(db_.Execute("COMMIT"));
    return std::exchange(revision_, 0);
  }

  void Revert(int64_t revision) override {
    Begin();
    std::vector<int64_t> changed;
    Statement newer = Prepare("SELECT id FROM documents WHERE born > ?1");
    newer.Bind(revision);
    while (Require(newer.Step())) changed.push_back(newer.Int(0));
    for (const int64_t id : changed) {
      TakeAway(id);
      Require(restore_.Bind(id, revision, revision_).Run());
      Require(index_.Bind(id).Run());
    }
    Commit();
  }

  void Erase(const std::string& key) override {
    Begin();
    if (!Require(find_.Bind(key).Step())) throw std::runtime_error(key + " is not there");
    const int64_t id = find_.Int(0);
    find_.Reset();
    Require(unindex_.Bind(id).Run());
    Require(remove_.Bind(id).Run());
    Require(Prepare("DELETE FROM history WHERE id = ?1").Bind(id).Run());
    Commit();
    Require(
        db_.Execute("INSERT INTO search(search) VALUES('optimize'); VACUUM;"
                    "PRAGMA wal_checkpoint(TRUNCATE)"));
  }

  std::string FirstListed() override {
    Statement first = Prepare("SELECT key, title, path, type FROM documents ORDER BY id LIMIT 1");
    return Require(first.Step()) ? std::string(first.Text(0)) : "";
  }
  int64_t Search(const std::string& words) override {
    std::string any = words;
    for (size_t space = any.find(' '); space != any.npos; space = any.find(' ', space + 4)) {
      any.replace(space, 1, " OR ");
    }
    Statement hits =
        Prepare("SELECT rowid FROM search WHERE search MATCH ?1 ORDER BY rank LIMIT 10");
    hits.Bind(any);
    int64_t found = 0;
    while (Require(hits.Step())) ++found;
    return found;
  }
  int64_t CountDocuments() override {
    Statement count = Prepare("SELECT count(*) FROM documents");
    Require(count.Step());
    return count.Int(0);
  }

 private:
  Statement Prepare(const std::string& sql) { return Require(db_.Prepare(sql)); }
  void Connect() {
    db_ = Require(
        Database::Open(folder() + "/documents.sqlite", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    // The bank's own settings for its catalog.
    Require(
        db_.Execute("PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
                    "PRAGMA cache_size=-65536; PRAGMA journal_size_limit=67108864"));
  }
  // Of a revision, if none is begun.
  void Begin() {
    if (revision_ != 0) return;
    Require(db_.Execute("BEGIN IMMEDIATE"));
    Statement newest = Prepare("SELECT ifnull(max(id), 0) FROM revisions");
    Require(newest.Step());
    revision_ = newest.Int(0) + 1;
  }
  // The document's row goes to the history.
  void TakeAway(int64_t id) {
    Require(unindex_.Bind(id).Run());
    Require(keep_.Bind(id, revision_).Run());
    Require(remove_.Bind(id).Run());
  }

  Database db_;
  Statement find_;
  Statement unindex_;
  Statement keep_;
  Statement remove_;
  Statement insert_;
  Statement index_;
  Statement restore_;
  int64_t revision_ = 0;  // in the making; 0: none
};

}  // namespace

int64_t Store::DiskBytes() const {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

std::unique_ptr<Store> MakeBankStore(const std::string& folder, bool encrypt) {
  return std::make_unique<BankStore>(folder, encrypt);
}

std::unique_ptr<Store> MakeSqliteStore(const std::string& folder) {
  return std::make_unique<SqliteStore>(folder);
}

}  // namespace msa::bench
