#include "msa/bank/catalog.h"

#include <algorithm>

#include "msa/bank/blocks.h"
#include "msa/bank/bytes.h"
#include "msa/bank/schema.h"
#include "msa/base/check.h"
#include "msa/base/hash.h"
#include "msa/base/json.h"

namespace msa {
namespace {

constexpr int kBusyMilliseconds = 10000;
constexpr size_t kLookupBytes = 16;

// A version is visible where its birth, and none of its deaths, lies on the path.
constexpr char kVisible[] =
    " on_path(v.birth) AND NOT EXISTS"
    "(SELECT 1 FROM deaths d WHERE d.version = v.id AND on_path(d.revision)) ";

// Of the document of v: the version that is visible today, else the newest.
constexpr char kTodaysVersion[] =
    "ifnull((SELECT max(t.id) FROM versions t WHERE t.document = v.document AND on_today(t.birth)"
    " AND NOT EXISTS(SELECT 1 FROM deaths d WHERE d.version = t.id AND on_today(d.revision))),"
    " (SELECT max(t.id) FROM versions t WHERE t.document = v.document))";

constexpr char kSelectVersion[] =
    "SELECT v.id, v.document, v.birth, v.first_passage, v.num_passages, v.num_tokens,"
    " v.text_bytes, v.title, v.source_path, v.source_sha256, v.source_bytes, v.media_type,"
    " v.labels, v.added, v.file, v.position, v.length, v.checksum, d.key, d.number, v.salt,"
    " v.text_hash, v.flags"
    " FROM versions v JOIN documents d ON d.id = v.document ";

void OnPath(sqlite3_context* context, int, sqlite3_value** args) {
  const auto* path = *static_cast<const RevisionPath**>(sqlite3_user_data(context));
  MSA_CHECK(path != nullptr);
  sqlite3_result_int(context, path->Contains(sqlite3_value_int64(args[0])) ? 1 : 0);
}

std::map<std::string, std::string> ParseLabels(std::string_view json_text) {
  std::map<std::string, std::string> labels;
  const auto json = ParseJson(json_text);
  if (!json.is_object()) return labels;
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) labels.emplace(name, value.get<std::string>());
  }
  return labels;
}

// Zeros if the blob has another length, which no chain entry then fits.
template <size_t kBytes>
std::array<std::byte, kBytes> FixedBlob(std::span<const std::byte> blob) {
  std::array<std::byte, kBytes> bytes{};
  CopyBlob(blob, &bytes);
  return bytes;
}

std::string Lookup(const BankId& secret, char kind, std::string_view data) {
  ByteWriter writer;
  writer.PutBytes(secret);
  writer.Put(kind);
  writer.PutBytes(AsBytes(data));
  const Digest digest = Blake2b(writer.bytes());
  return std::string(AsChars(digest).substr(0, kLookupBytes));
}

bool IsBlob(SealedColumn column) {
  return column == SealedColumn::kTextHash || column == SealedColumn::kSalt;
}

Result<std::string> OpenValue(BankCipher& cipher, std::span<const std::byte> message,
                              const RandomNumber& owner, int64_t version, int64_t column,
                              bool* is_there) {
  std::optional<Sealer> sealer;
  if (owner == RandomNumber{}) {
    sealer = cipher.OfRevision(version);
  } else {
    MSA_ASSIGN_OR_RETURN(sealer, cipher.OfDocument(owner, version));
  }
  *is_there = sealer.has_value();
  if (!sealer) return std::string();
  MSA_ASSIGN_OR_RETURN(const auto value, sealer->Open(CipherRole::kColumn, column, 0, message));
  return std::string(AsChars(value));
}

// opened(message, number, version, column): what the column says; null if the document's key was
// destroyed. Columns of revisions have the number zero.
void OpenColumn(sqlite3_context* context, int, sqlite3_value** args) {
  auto* cipher = static_cast<BankCipher*>(sqlite3_user_data(context));
  const auto blob = [&](int i) {
    return std::span(static_cast<const std::byte*>(sqlite3_value_blob(args[i])),
                     static_cast<size_t>(sqlite3_value_bytes(args[i])));
  };
  const int64_t column = sqlite3_value_int64(args[3]);
  bool is_there = false;
  const auto value = OpenValue(*cipher, blob(0), FixedBlob<sizeof(RandomNumber)>(blob(1)),
                               sqlite3_value_int64(args[2]), column, &is_there);
  if (!value.ok()) {
    const std::string message = "column " + std::to_string(column) + " of " +
                                std::to_string(sqlite3_value_int64(args[2])) + ": " +
                                value.status().message();
    sqlite3_result_error(context, message.c_str(), -1);
    sqlite3_result_error_code(context, SQLITE_CORRUPT);
  } else if (!is_there) {
    sqlite3_result_null(context);
  } else if (IsBlob(static_cast<SealedColumn>(column))) {
    sqlite3_result_blob64(context, value->data(), value->size(), SQLITE_TRANSIENT);
  } else {
    sqlite3_result_text64(context, value->data(), value->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
}

constexpr char kDropOpeningViews[] =
    "DROP VIEW temp.documents; DROP VIEW temp.versions; DROP VIEW temp.revisions";

// Views that stand before the tables of the same names.
std::string OpeningViews() {
  const auto opened = [](const char* name, SealedColumn column, const char* number,
                         const char* version) {
    return std::string("opened(") + name + ", " + number + ", " + version + ", " +
           std::to_string(static_cast<int64_t>(column)) + ") AS " + name;
  };
  const auto of_version = [&](const char* name, SealedColumn column) {
    return opened(name, column, "(SELECT d.number FROM main.documents d WHERE d.id = v.document)",
                  "v.id");
  };
  const auto of_revision = [&](const char* name, SealedColumn column) {
    return opened(name, column, "zeroblob(16)", "r.id");
  };
  return "CREATE TEMP VIEW documents AS SELECT id, number, lookup, " +
         opened("key", SealedColumn::kKey, "number", "0") +
         " FROM main.documents;"
         "CREATE TEMP VIEW versions AS SELECT id, document, birth, first_passage, num_passages,"
         " num_tokens, text_bytes, " +
         of_version("title", SealedColumn::kTitle) + ", " +
         of_version("source_path", SealedColumn::kSourcePath) + ", " +
         of_version("source_sha256", SealedColumn::kSourceSha256) + ", source_bytes, " +
         of_version("media_type", SealedColumn::kMediaType) + ", " +
         of_version("labels", SealedColumn::kLabels) + ", added, " +
         of_version("text_hash", SealedColumn::kTextHash) + ", " +
         of_version("salt", SealedColumn::kSalt) +
         ", flags, file, position, length, checksum FROM main.versions v;"
         "CREATE TEMP VIEW revisions AS SELECT id, parent, run_begin, time, " +
         of_revision("author", SealedColumn::kAuthor) + ", " +
         of_revision("message", SealedColumn::kMessage) +
         ", kind, documents, passages, tokens, text_bytes FROM main.revisions r;";
}

// The document's own fields that a filter may name; null for a label.
const char* OwnField(std::string_view name) {
  if (name == "title") return "v.title";
  if (name == "path") return "v.source_path";
  if (name == "type") return "v.media_type";
  return nullptr;
}

// The conditions of a filter on versions v, each " AND …". Labels are looked up for the version
// that the expression `labelled` names; where that is v.id, the index of labels leads the way.
class FilterSql {
 public:
  FilterSql(const LabelFilter& filter, const BankId& secret, std::string_view labelled) {
    for (const auto& [name, value] : filter) {
      const char* field = OwnField(name);
      const std::string parameter = "?" + std::to_string(values_.size() + 1);
      if (field != nullptr) {
        sql_ += std::string(" AND ") + field + " = " + parameter;
      } else {
        sql_.append(" AND ").append(labelled);
        sql_ += " IN (SELECT version FROM labels WHERE lookup = " + parameter + ")";
      }
      values_.push_back(field != nullptr ? value : LabelLookup(secret, name, value));
      is_lookup_.push_back(field == nullptr);
    }
  }

  const std::string& sql() const { return sql_; }
  // The values are borrowed.
  void Bind(Statement* rows) const {
    for (size_t i = 0; i < values_.size(); ++i) rows->BindAt(i + 1, values_[i], is_lookup_[i]);
  }

 private:
  std::string sql_;
  std::vector<std::string> values_;
  std::vector<bool> is_lookup_;
};

constexpr int64_t kCandidatesListed = 6;
// Beyond what any bank counts, and far enough from 2^63 to add to.
constexpr int64_t kMaxCount = int64_t{1} << 60;

Status CheckPassages(int64_t version, int64_t first, int64_t count) {
  if (first >= 0 && first <= kMaxCount && count >= 0 && count <= kMaxPassages) return OkStatus();
  return DataLoss("catalog: version " + std::to_string(version) + " has passages " +
                  std::to_string(first) + " + " + std::to_string(count));
}

// Columns: id, first_passage, num_passages, num_tokens, flags.
Result<VersionSpan> ReadSpan(const Statement& row) {
  MSA_RETURN_IF_ERROR(CheckPassages(row.Int(0), row.Int(1), row.Int(2)));
  return VersionSpan{row.Int(0), row.Int(1), row.Int(2), row.Int(3),
                     (row.Int(4) & kTextNotKept) == 0};
}

}  // namespace

RevisionPath RevisionPath::Extended() const {
  RevisionPath path = *this;
  if (path.runs_.empty()) {
    path.AddRun({1, 1});
  } else {
    ++path.runs_.front().last;
  }
  return path;
}

std::vector<RevisionPath::Run> RevisionPath::Difference(const RevisionPath& a,
                                                        const RevisionPath& b) {
  std::vector<int64_t> borders;
  for (const RevisionPath* path : {&a, &b}) {
    for (const Run& run : path->runs_) {
      borders.push_back(run.first);
      borders.push_back(run.last + 1);
    }
  }
  std::ranges::sort(borders);
  std::vector<Run> difference;
  for (size_t i = 0; i + 1 < borders.size(); ++i) {
    const Run run{borders[i], borders[i + 1] - 1};
    if (run.first <= run.last && a.Contains(run.first) != b.Contains(run.first)) {
      difference.push_back(run);
    }
  }
  return difference;
}

Status Catalog::Create(const std::string& path, const char* vfs) {
  MSA_ASSIGN_OR_RETURN(Database db,
                       Database::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs));
  const std::string pragmas =
      "PRAGMA page_size=" + std::to_string(kSqlitePageBytes) +
      "; PRAGMA application_id=" + std::to_string(kCatalogApplicationId) +
      "; PRAGMA user_version=" + std::to_string(kCatalogVersion) +
      "; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; BEGIN;";
  MSA_RETURN_IF_ERROR(db.Execute(pragmas.c_str()));
  MSA_RETURN_IF_ERROR(db.Execute(kCatalogSchema));
  MSA_RETURN_IF_ERROR(db.Execute(
      "INSERT INTO state VALUES(1, 0, 0, 0, zeroblob(32), 0, 1, 1, 0, 1);"
      "INSERT INTO settings VALUES('retention', '{\"latents_days\":30,\"text\":\"all\"}');"
      "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)"));
  return OkStatus();
}

Result<Catalog> Catalog::Open(const std::string& path, Access access, const char* vfs,
                              BankCipher* cipher) {
  Catalog catalog;
  const int flags = access == Access::kReadImmutable ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
                                                     : SQLITE_OPEN_READWRITE;
  MSA_ASSIGN_OR_RETURN(
      catalog.db_,
      Database::Open(access == Access::kReadImmutable ? SqliteUri(path, "immutable=1") : path,
                     flags, vfs));
  Database& db = catalog.db_;
  sqlite3_busy_timeout(db.handle(), kBusyMilliseconds);
  MSA_RETURN_IF_ERROR(
      db.Execute("PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
                 "PRAGMA cache_size=-65536; PRAGMA journal_size_limit=67108864"));
  MSA_ASSIGN_OR_RETURN(Statement kind,
                       db.Prepare("SELECT application_id, user_version, page_size FROM"
                                  " pragma_application_id, pragma_user_version,"
                                  " pragma_page_size"));
  MSA_ASSIGN_OR_RETURN(const bool row, kind.Step());
  if (!row || kind.Int(0) != kCatalogApplicationId) return DataLoss("not a bank's catalog");
  if (kind.Int(1) > kCatalogVersion) {
    return Unimplemented("catalog version " + std::to_string(kind.Int(1)) +
                         ", this program reads " + std::to_string(kCatalogVersion));
  }
  if (kind.Int(2) != kSqlitePageBytes) {
    return DataLoss("catalog: pages of " + std::to_string(kind.Int(2)) + " bytes, expected " +
                    std::to_string(kSqlitePageBytes));
  }
  catalog.cipher_ = cipher;
  if (cipher != nullptr) MSA_RETURN_IF_ERROR(catalog.ShowSealedColumns());
  if (access != Access::kWrite) MSA_RETURN_IF_ERROR(db.Execute("PRAGMA query_only=ON"));
  const auto define = [&](const char* name, const RevisionPath** path) {
    const int code =
        sqlite3_create_function(db.handle(), name, 1, SQLITE_UTF8, path, OnPath, nullptr, nullptr);
    return code == SQLITE_OK ? OkStatus() : db.LastError(std::string("create function ") + name);
  };
  MSA_RETURN_IF_ERROR(define("on_path", &catalog.paths_->shown));
  MSA_RETURN_IF_ERROR(define("on_today", &catalog.paths_->today));
  MSA_ASSIGN_OR_RETURN(
      catalog.read_state_,
      db.Prepare("SELECT commit_number, revision, chain_length, chain_head, erase_epoch,"
                 " next_document, next_version, next_passage, next_file FROM state"));
  MSA_ASSIGN_OR_RETURN(catalog.find_visible_,
                       db.Prepare(std::string(kSelectVersion) + "WHERE v.document = ?1 AND" +
                                  kVisible + "ORDER BY v.id DESC LIMIT 1"));
  MSA_ASSIGN_OR_RETURN(catalog.find_version_,
                       db.Prepare(std::string(kSelectVersion) + "WHERE v.id = ?1"));
  return catalog;
}

Status Catalog::ShowSealedColumns() {
  const int code = sqlite3_create_function(db_.handle(), "opened", 4, SQLITE_UTF8, cipher_,
                                           OpenColumn, nullptr, nullptr);
  if (code != SQLITE_OK) return db_.LastError("create function opened");
  MSA_RETURN_IF_ERROR(db_.Execute(OpeningViews().c_str()));
  MSA_ASSIGN_OR_RETURN(find_number_,
                       db_.Prepare("SELECT d.number FROM main.versions v JOIN main.documents d"
                                   " ON d.id = v.document WHERE v.id = ?1"));
  return OkStatus();
}

Result<std::optional<Sealer>> Catalog::FindSealer(VersionId version) {
  if (cipher_ == nullptr) return std::optional<Sealer>();
  MSA_ASSIGN_OR_RETURN(const bool row, find_number_.Bind(version.value).Step());
  if (!row) return std::optional<Sealer>();
  const auto number = FixedBlob<sizeof(RandomNumber)>(find_number_.Blob(0));
  find_number_.Reset();
  return cipher_->OfDocument(number, version.value);
}

Result<std::optional<std::string>> Catalog::ReadSetting(std::string_view name) {
  MSA_ASSIGN_OR_RETURN(Statement row, db_.Prepare("SELECT value FROM settings WHERE name = ?1"));
  MSA_ASSIGN_OR_RETURN(const bool there, row.Bind(name).Step());
  return there ? std::optional(std::string(row.Text(0))) : std::nullopt;
}

Status Catalog::WriteSetting(std::string_view name, std::string_view value) {
  MSA_ASSIGN_OR_RETURN(Statement insert,
                       db_.Prepare("INSERT OR REPLACE INTO settings VALUES(?1, ?2)"));
  return insert.Bind(name, value).Run();
}

Status Catalog::RemoveSetting(std::string_view name) {
  MSA_ASSIGN_OR_RETURN(Statement remove, db_.Prepare("DELETE FROM settings WHERE name = ?1"));
  return remove.Bind(name).Run();
}

Result<bool> Catalog::Vacuum() {
  // It makes the tables anew by their names, which must not be those of views.
  if (cipher_ != nullptr) MSA_RETURN_IF_ERROR(db_.Execute(kDropOpeningViews));
  const Status vacuumed = db_.Execute("VACUUM");
  if (cipher_ != nullptr) MSA_RETURN_IF_ERROR(db_.Execute(OpeningViews().c_str()));
  MSA_RETURN_IF_ERROR(vacuumed);
  return db_.EmptyWal();
}

Status Catalog::DropTexts(std::span<const VersionId> versions) {
  MSA_ASSIGN_OR_RETURN(Statement drop,
                       db_.Prepare("UPDATE main.versions SET flags = flags | ?2, file = 0,"
                                   " position = 0, length = 0, checksum = 0 WHERE id = ?1"));
  for (const VersionId version : versions) {
    MSA_RETURN_IF_ERROR(drop.Bind(version.value, kTextNotKept).Run());
  }
  return OkStatus();
}

Result<CatalogState> Catalog::ReadState() {
  MSA_ASSIGN_OR_RETURN(const bool row, read_state_.Bind().Step());
  if (!row) return DataLoss("catalog: the state row is missing");
  CatalogState state;
  state.head.commit_number = read_state_.Int(0);
  state.head.revision = read_state_.Int(1);
  state.head.chain_length = read_state_.Int(2);
  const auto chain_head = read_state_.Blob(3);
  const bool sound = chain_head.size() == state.head.chain_head.size();
  if (sound) std::ranges::copy(chain_head, state.head.chain_head.begin());
  state.head.erase_epoch = read_state_.Int(4);
  state.next_document = read_state_.Int(5);
  state.next_version = read_state_.Int(6);
  state.next_passage = read_state_.Int(7);
  state.next_file = read_state_.Int(8);
  read_state_.Reset();
  if (!sound) return DataLoss("catalog: the state's chain head is not 32 bytes");
  for (const int64_t count : {state.head.commit_number, state.head.revision,
                              state.head.chain_length, state.head.erase_epoch, state.next_document,
                              state.next_version, state.next_passage, state.next_file}) {
    if (count < 0 || count > kMaxCount) {
      return DataLoss("catalog: the state counts to " + std::to_string(count));
    }
  }
  return state;
}

Result<RevisionPath> Catalog::ReadPath(int64_t revision) {
  RevisionPath path;
  MSA_ASSIGN_OR_RETURN(Statement run,
                       db_.Prepare("SELECT r.run_begin, b.parent FROM revisions r JOIN revisions b"
                                   " ON b.id = r.run_begin WHERE r.id = ?1"));
  while (revision > 0) {
    MSA_ASSIGN_OR_RETURN(const bool row, run.Bind(revision).Step());
    const int64_t begin = row ? run.Int(0) : 0;
    const int64_t parent = row ? run.Int(1) : 0;  // null reads as 0
    // Falling numbers also make sure that this ends.
    if (!row || begin <= 0 || begin > revision || parent >= begin) {
      return DataLoss("catalog: revision " + std::to_string(revision) + " has no path to the root");
    }
    path.AddRun({begin, revision});
    revision = parent;
  }
  return path;
}

Result<RevisionTotals> Catalog::ReadTotals(int64_t revision) {
  MSA_ASSIGN_OR_RETURN(Statement totals,
                       db_.Prepare("SELECT documents, passages, tokens, text_bytes FROM revisions"
                                   " WHERE id = ?1"));
  MSA_ASSIGN_OR_RETURN(const bool row, totals.Bind(revision).Step());
  if (!row) return RevisionTotals{};
  return RevisionTotals{totals.Int(0), totals.Int(1), totals.Int(2), totals.Int(3)};
}

Result<DeathWalk> DeathWalk::Begin(const Database& db) {
  MSA_ASSIGN_OR_RETURN(Statement deaths,
                       db.Prepare("SELECT version, revision FROM deaths ORDER BY version"));
  MSA_ASSIGN_OR_RETURN(const bool has_row, deaths.Step());
  return DeathWalk(std::move(deaths), has_row);
}

Status DeathWalk::Next(int64_t version, FunctionRef<void(int64_t revision)> on_death) {
  while (has_row_ && deaths_.Int(0) <= version) {
    if (deaths_.Int(0) == version) on_death(deaths_.Int(1));
    MSA_ASSIGN_OR_RETURN(has_row_, deaths_.Step());
  }
  return OkStatus();
}

Result<std::vector<VersionSpan>> Catalog::AllVisibleVersions() {
  MSA_ASSIGN_OR_RETURN(
      Statement rows, db_.Prepare("SELECT id, first_passage, num_passages, num_tokens, flags, birth"
                                  " FROM versions ORDER BY id"));
  MSA_ASSIGN_OR_RETURN(DeathWalk deaths, DeathWalk::Begin(db_));
  MSA_CHECK(paths_->shown != nullptr);
  const RevisionPath& path = *paths_->shown;
  std::vector<VersionSpan> versions;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return versions;
    if (!path.Contains(rows.Int(5))) continue;
    bool is_dead = false;
    MSA_RETURN_IF_ERROR(deaths.Next(
        rows.Int(0), [&](int64_t revision) { is_dead = is_dead || path.Contains(revision); }));
    if (is_dead) continue;
    MSA_ASSIGN_OR_RETURN(const VersionSpan span, ReadSpan(rows));
    versions.push_back(span);
  }
}

Result<std::vector<VersionRow>> Catalog::VisibleRowsAfter(VersionId version, int64_t limit) {
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       db_.Prepare(std::string(kSelectVersion) + "WHERE v.id > ?1 AND" + kVisible +
                                   "ORDER BY v.id LIMIT ?2"));
  rows.Bind(version.value, limit);
  std::vector<VersionRow> versions;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return versions;
    MSA_ASSIGN_OR_RETURN(VersionRow next, ReadVersion(rows));
    // In a damaged index a row may come again, and whoever goes on after it would never end.
    const VersionId before = versions.empty() ? version : versions.back().info.version;
    if (next.info.version <= before) return DataLoss("catalog: versions are out of order");
    versions.push_back(std::move(next));
  }
}

Result<std::vector<VersionSpan>> Catalog::VisibleVersions(const LabelFilter& filter,
                                                          const BankId& secret) {
  if (filter.empty()) return AllVisibleVersions();
  std::string sql =
      "SELECT v.id, v.first_passage, v.num_passages, v.num_tokens, v.flags FROM versions v WHERE";
  sql += kVisible;
  const FilterSql conditions(filter, secret, paths_->today == nullptr ? "v.id" : kTodaysVersion);
  sql += conditions.sql() + " ORDER BY v.id";
  MSA_ASSIGN_OR_RETURN(Statement rows, db_.Prepare(sql));
  conditions.Bind(&rows);
  std::vector<VersionSpan> versions;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return versions;
    MSA_ASSIGN_OR_RETURN(const VersionSpan span, ReadSpan(rows));
    versions.push_back(span);
  }
}

Result<std::vector<DocId>> Catalog::DocumentsThatDiffer(const RevisionPath& a,
                                                        const RevisionPath& b) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      db_.Prepare("SELECT document FROM versions WHERE on_path(birth) != on_today(birth) UNION"
                  " SELECT v.document FROM deaths d JOIN versions v ON v.id = d.version"
                  " WHERE on_path(d.revision) != on_today(d.revision) ORDER BY 1"));
  paths_->shown = &a;
  paths_->today = &b;
  std::vector<DocId> documents;
  Result<bool> row = rows.Step();
  for (; row.ok() && *row; row = rows.Step()) documents.push_back(DocId{rows.Int(0)});
  *paths_ = {};
  MSA_RETURN_IF_ERROR(row.status());
  return documents;
}

Result<VersionRow> Catalog::ReadVersion(const Statement& row) {
  VersionRow version;
  DocumentInfo& info = version.info;
  info.version = VersionId{row.Int(0)};
  info.id = DocId{row.Int(1)};
  info.born = RevisionId{row.Int(2)};
  version.first_passage = row.Int(3);
  info.num_passages = row.Int(4);
  MSA_RETURN_IF_ERROR(CheckPassages(row.Int(0), version.first_passage, info.num_passages));
  info.num_tokens = row.Int(5);
  info.text_bytes = row.Int(6);
  info.title = row.Text(7);
  info.source_path = row.Text(8);
  info.source_sha256 = row.Text(9);
  info.source_bytes = row.Int(10);
  info.media_type = row.Text(11);
  version.labels_json = row.Text(12);
  info.labels = ParseLabels(version.labels_json);
  info.added_unix_ms = row.Int(13);
  version.frame = {FileId{row.Int(14)}, row.Int(15), row.Int(16),
                   static_cast<uint64_t>(row.Int(17))};
  info.key = row.Text(18);
  version.number = FixedBlob<sizeof(RandomNumber)>(row.Blob(19));
  version.salt = FixedBlob<sizeof(RandomNumber)>(row.Blob(20));
  version.text_hash = FixedBlob<sizeof(Digest)>(row.Blob(21));
  info.text_kept = (row.Int(22) & kTextNotKept) == 0;
  if (cipher_ != nullptr) {
    MSA_ASSIGN_OR_RETURN(version.frame.sealer,
                         cipher_->OfDocument(version.number, info.version.value));
    version.is_readable = version.frame.sealer.has_value();
  }
  return version;
}

Result<std::optional<VersionRow>> Catalog::OneVersion(Statement& statement) {
  MSA_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return std::optional<VersionRow>();
  auto version = ReadVersion(statement);
  statement.Reset();
  MSA_RETURN_IF_ERROR(version.status());
  return std::optional<VersionRow>(*std::move(version));
}

Result<std::optional<VersionRow>> Catalog::FindVisible(DocId document) {
  return OneVersion(find_visible_.Bind(document.value));
}

Result<std::optional<VersionRow>> Catalog::FindNewest(DocId document) {
  MSA_ASSIGN_OR_RETURN(Statement statement,
                       db_.Prepare(std::string(kSelectVersion) +
                                   "WHERE v.document = ?1 ORDER BY v.id DESC LIMIT 1"));
  return OneVersion(statement.Bind(document.value));
}

Result<std::optional<VersionRow>> Catalog::FindVersion(VersionId version) {
  return OneVersion(find_version_.Bind(version.value));
}

Result<std::vector<VersionRow>> Catalog::FindVersions(std::span<const VersionSpan> versions) {
  std::vector<VersionRow> rows;
  for (const VersionSpan& span : versions) {
    MSA_ASSIGN_OR_RETURN(auto row, FindVersion(VersionId{span.version}));
    if (row) rows.push_back(*std::move(row));
  }
  return rows;
}

Status Catalog::ForEachInRange(int64_t first, int64_t end,
                               FunctionRef<Status(const VersionRow&)> on_version) {
  // The one that begins at or before `first` comes first; it may end before.
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      db_.Prepare(std::string(kSelectVersion) +
                  "WHERE v.num_passages > 0 AND v.first_passage < ?2 AND v.first_passage >="
                  " ifnull((SELECT max(first_passage) FROM versions WHERE num_passages > 0"
                  " AND first_passage <= ?1), 0) ORDER BY v.first_passage"));
  rows.Bind(first, end);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return OkStatus();
    MSA_ASSIGN_OR_RETURN(const VersionRow version, ReadVersion(rows));
    if (version.first_passage + version.info.num_passages <= first) continue;
    MSA_RETURN_IF_ERROR(on_version(version));
  }
}

Result<int64_t> Catalog::CountVersions() {
  MSA_ASSIGN_OR_RETURN(Statement count, db_.Prepare("SELECT count(*) FROM main.versions"));
  MSA_RETURN_IF_ERROR(count.Step().status());
  return count.Int(0);
}

Status Catalog::ForEachVersion(FunctionRef<Status(const VersionRow&)> on_version) {
  MSA_ASSIGN_OR_RETURN(Statement rows, db_.Prepare(std::string(kSelectVersion) + "ORDER BY v.id"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return OkStatus();
    MSA_ASSIGN_OR_RETURN(const VersionRow version, ReadVersion(rows));
    MSA_RETURN_IF_ERROR(on_version(version));
  }
}

Status Catalog::ForEachInPack(FileId pack, FunctionRef<Status(const VersionRow&)> on_version) {
  MSA_ASSIGN_OR_RETURN(Statement rows, db_.Prepare(std::string(kSelectVersion) +
                                                   "WHERE v.file = ?1 ORDER BY v.position"));
  rows.Bind(pack.value);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return OkStatus();
    MSA_ASSIGN_OR_RETURN(const VersionRow version, ReadVersion(rows));
    MSA_RETURN_IF_ERROR(on_version(version));
  }
}

Result<std::optional<DocId>> Catalog::FindDocument(std::string_view key, const BankId& secret) {
  MSA_ASSIGN_OR_RETURN(Statement statement,
                       db_.Prepare("SELECT id FROM documents WHERE lookup = ?1"));
  const std::string lookup = KeyLookup(secret, key);
  MSA_ASSIGN_OR_RETURN(const bool row, statement.Bind(BlobOf(lookup)).Step());
  if (!row) return std::optional<DocId>();
  return std::optional<DocId>(DocId{statement.Int(0)});
}

Result<std::vector<VersionRow>> Catalog::FindByPart(std::string_view part, int64_t limit) {
  MSA_ASSIGN_OR_RETURN(
      Statement statement,
      db_.Prepare(std::string(kSelectVersion) +
                  "WHERE (instr(lower(d.key), lower(?1)) OR instr(lower(v.title), lower(?1))) AND" +
                  kVisible + "ORDER BY v.id LIMIT ?2"));
  statement.Bind(part, limit);
  std::vector<VersionRow> versions;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return versions;
    MSA_ASSIGN_OR_RETURN(VersionRow version, ReadVersion(statement));
    versions.push_back(std::move(version));
  }
}

Result<DocId> Catalog::FindEver(std::string_view name, const BankId& secret) {
  if (name.empty()) return InvalidArgument("a document's name must not be empty");
  const std::string lookup = KeyLookup(secret, name);
  MSA_ASSIGN_OR_RETURN(
      Statement exact,
      db_.Prepare("SELECT id FROM documents WHERE lookup = ?1 UNION ALL"
                  " SELECT id FROM documents WHERE CAST(id AS TEXT) = ?2 LIMIT 1"));
  MSA_ASSIGN_OR_RETURN(const bool is_exact, exact.Bind(BlobOf(lookup), name).Step());
  if (is_exact) return DocId{exact.Int(0)};
  MSA_ASSIGN_OR_RETURN(Statement part,
                       db_.Prepare("SELECT DISTINCT d.id, d.key FROM documents d JOIN versions v"
                                   " ON v.document = d.id WHERE instr(lower(d.key), lower(?1))"
                                   " OR instr(lower(v.title), lower(?1)) ORDER BY d.id LIMIT ?2"));
  part.Bind(name, kCandidatesListed);
  std::vector<DocId> found;
  std::string listed;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, part.Step());
    if (!row) break;
    found.push_back(DocId{part.Int(0)});
    listed.append("\n  ").append(std::to_string(part.Int(0)));
    listed.append("  ").append(part.Text(1));
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return NotFound("no document of any revision has the id or key \"" + std::string(name) +
                    "\", or that in its key or title");
  }
  return InvalidArgument(std::string(name) + " fits several documents:" + listed);
}

Result<std::vector<DocId>> Catalog::FindEver(const LabelFilter& filter, const BankId& secret) {
  const FilterSql conditions(filter, secret, "v.id");
  MSA_ASSIGN_OR_RETURN(Statement rows,
                       db_.Prepare("SELECT DISTINCT v.document FROM versions v WHERE 1" +
                                   conditions.sql() + " ORDER BY v.document"));
  conditions.Bind(&rows);
  std::vector<DocId> documents;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return documents;
    documents.push_back(DocId{rows.Int(0)});
  }
}

Result<std::vector<Catalog::FileRow>> Catalog::Files(FileId only) {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      db_.Prepare("SELECT id, kind, ifnull(encoding, -1), length, checksum, blocks FROM files"
                  " WHERE ?1 < 0 OR id = ?1 ORDER BY id"));
  rows.Bind(only.value);
  std::vector<FileRow> files;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return files;
    if (rows.Int(1) < 1 || rows.Int(1) > 4) {
      return DataLoss("catalog: file " + std::to_string(rows.Int(0)) + " is of unknown kind " +
                      std::to_string(rows.Int(1)));
    }
    if (rows.Int(3) < 0) {
      return DataLoss("catalog: file " + std::to_string(rows.Int(0)) + " has a negative length");
    }
    const auto blocks = rows.Blob(5);
    files.push_back({FileId{rows.Int(0)},
                     static_cast<FileKind>(rows.Int(1)),
                     EncodingId{rows.Int(2)},
                     rows.Int(3),
                     static_cast<uint64_t>(rows.Int(4)),
                     {blocks.begin(), blocks.end()}});
  }
}

Result<std::vector<Catalog::ShardRow>> Catalog::Shards() {
  MSA_ASSIGN_OR_RETURN(
      Statement rows,
      db_.Prepare("SELECT s.file, s.first_passage, s.end_passage, s.passages, f.length, f.blocks"
                  " FROM shards s JOIN files f ON f.id = s.file ORDER BY s.first_passage"));
  std::vector<ShardRow> shards;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return shards;
    ShardRow& shard = shards.emplace_back();
    shard = {FileId{rows.Int(0)}, rows.Int(1), rows.Int(2),
             rows.Int(3),         rows.Int(4), ParseBlocks(rows.Blob(5))};
    if (shard.first_passage < 0 || shard.end_passage < shard.first_passage ||
        shard.end_passage > kMaxCount || shard.passages < 0 ||
        shard.passages > shard.end_passage - shard.first_passage || shard.length_bytes < 0) {
      return DataLoss("catalog: index " + std::to_string(shard.file.value) +
                      " has a row that contradicts itself");
    }
  }
}

std::string KeyLookup(const BankId& secret, std::string_view key) {
  return Lookup(secret, 'K', key);
}

std::string LabelLookup(const BankId& secret, std::string_view name, std::string_view value) {
  std::string data(name);
  data.push_back('\0');
  data += value;
  return Lookup(secret, 'L', data);
}

BoundValue SealedValue(const std::optional<Sealer>& sealer, SealedColumn column,
                       std::string_view value) {
  if (!sealer) return {std::string(value), IsBlob(column)};
  const auto message =
      sealer->Seal(CipherRole::kColumn, static_cast<int64_t>(column), 0, AsBytes(value));
  return {std::string(AsChars(message)), true};
}

std::string LabelsJson(const std::map<std::string, std::string>& labels) {
  // Labels may hold any bytes; JSON may not.
  return nlohmann::json(labels).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace msa
