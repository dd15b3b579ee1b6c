// The catalog: one SQLite database with every fact about documents, versions, revisions, files and
// latents. schema.h has the tables, docs/bank-format.md what they mean. This is a connection to it,
// with what both readers and the writer ask; the writer's own statements are in writer.cc.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/bank_cipher.h"
#include "msa/bank/chain.h"
#include "msa/bank/head.h"
#include "msa/bank/layout.h"
#include "msa/bank/pack.h"
#include "msa/bank/sqlite.h"
#include "msa/base/function_ref.h"
#include "msa/base/ids.h"

namespace msa {

// The row `state`.
struct CatalogState {
  Head head;
  int64_t next_document = 1;
  int64_t next_version = 1;
  int64_t next_passage = 0;
  int64_t next_file = 1;
};

// The revisions from one back to the root, as runs of consecutive numbers: one run, and one more
// for each time somebody went back.
class RevisionPath {
 public:
  struct Run {
    int64_t first;
    int64_t last;
  };

  bool Contains(int64_t revision) const {
    const auto run = std::ranges::lower_bound(runs_, revision, std::ranges::greater(), &Run::first);
    return run != runs_.end() && revision <= run->last;
  }
  void AddRun(Run run) { runs_.push_back(run); }
  // The newest revision on the path; 0 for the empty bank.
  int64_t last() const { return runs_.empty() ? 0 : runs_.front().last; }
  // The first revision of the newest run; 0 for the empty bank.
  int64_t run_begin() const { return runs_.empty() ? 0 : runs_.front().first; }
  // The path of a child of last(), when it is numbered last() + 1.
  RevisionPath Extended() const;
  // The revisions that lie on one of two paths only, ascending.
  static std::vector<Run> Difference(const RevisionPath& a, const RevisionPath& b);

 private:
  std::vector<Run> runs_;  // newest first
};

// What a revision sees, as the table revisions says; of one version, what it adds to that.
struct RevisionTotals {
  int64_t documents = 0;
  int64_t passages = 0;
  int64_t tokens = 0;
  int64_t text_bytes = 0;

  // Numbers of damaged rows wrap around, and an audit finds that the sums differ.
  RevisionTotals& operator+=(const RevisionTotals& other) {
    __builtin_add_overflow(documents, other.documents, &documents);
    __builtin_add_overflow(passages, other.passages, &passages);
    __builtin_add_overflow(tokens, other.tokens, &tokens);
    __builtin_add_overflow(text_bytes, other.text_bytes, &text_bytes);
    return *this;
  }
  RevisionTotals& operator-=(const RevisionTotals& other) {
    __builtin_sub_overflow(documents, other.documents, &documents);
    __builtin_sub_overflow(passages, other.passages, &passages);
    __builtin_sub_overflow(tokens, other.tokens, &tokens);
    __builtin_sub_overflow(text_bytes, other.text_bytes, &text_bytes);
    return *this;
  }
  friend bool operator==(const RevisionTotals&, const RevisionTotals&) = default;
};

// versions.flags
inline constexpr int64_t kTextNotKept = 1;

struct VersionRow {
  DocumentInfo info;
  int64_t first_passage = 0;
  FramePlace frame;  // zeros if the text is not kept
  // What its chain entry names and commits to, beside the fields of `info`.
  RandomNumber number{};
  RandomNumber salt{};
  std::string labels_json;
  Digest text_hash{};

  // False where the document's key was destroyed: fields are empty then, and the text cannot be
  // read.
  bool is_readable = true;

  CommittedFields committed_fields() const {
    return {info.key,           info.title,      info.source_path,
            info.source_sha256, info.media_type, labels_json};
  }
  RevisionTotals totals() const { return {1, info.num_passages, info.num_tokens, info.text_bytes}; }
};

// Of a version, and so of a place of latents. With IsInBounds of a layout it keeps every product of
// sizes under 2^63.
inline constexpr int64_t kMaxPassages = 1 << 22;

// A version and its passages' ids.
struct VersionSpan {
  int64_t version;
  int64_t first_passage;
  int64_t num_passages;
  int64_t num_tokens;
  bool text_kept;
};

// Reads `deaths` beside versions that ascend: one pass over both, where a query for each version
// would cost several times as much.
class DeathWalk {
 public:
  static Result<DeathWalk> Begin(const Database& db);
  // Calls on_death with each revision that a version is gone from. REQUIRES: versions ascend from
  // call to call.
  Status Next(int64_t version, FunctionRef<void(int64_t revision)> on_death);

 private:
  DeathWalk(Statement deaths, bool has_row) : deaths_(std::move(deaths)), has_row_(has_row) {}
  Statement deaths_;
  bool has_row_;
};

class Catalog {
 public:
  enum class Access {
    kWrite,
    kRead,
    kReadImmutable  // nobody may write meanwhile; works in a folder that cannot be written
  };

  // A new catalog with its tables and state row, synced. `vfs`: as FileSystem::sqlite_vfs says.
  static Status Create(const std::string& path, const char* vfs = nullptr);
  // kDataLoss if it is no catalog, kUnimplemented if it is a newer one.
  // `cipher`: the bank's, or null; it must outlive the connection. With one, the connection shows
  // the tables documents, versions and revisions as views of the same names that open their sealed
  // columns; what is written goes to main.documents and so on, sealed by SealedValue.
  static Result<Catalog> Open(const std::string& path, Access access, const char* vfs = nullptr,
                              BankCipher* cipher = nullptr);
  Catalog() : paths_(std::make_unique<Paths>()) {}

  Database& db() { return db_; }
  BankCipher* cipher() const { return cipher_; }
  // Seals and opens what belongs to a version; nullopt: the bank has no cipher, there is no such
  // version, or its document's key was destroyed.
  Result<std::optional<Sealer>> FindSealer(VersionId version);

  // Gives free pages back, then empties the WAL: false if somebody who reads in a transaction keeps
  // that from it. REQUIRES: no transaction is open.
  Result<bool> Vacuum();

  // Their texts are not kept any more: frames belong to nobody. REQUIRES: a transaction is open.
  Status DropTexts(std::span<const VersionId> versions);

  Result<CatalogState> ReadState();
  Result<RevisionPath> ReadPath(int64_t revision);
  // A row of `settings`; nullopt: there is none.
  Result<std::optional<std::string>> ReadSetting(std::string_view name);
  Status WriteSetting(std::string_view name, std::string_view value);
  Status RemoveSetting(std::string_view name);
  // What a revision sees; nothing if there is no such row, as for revision 0.
  Result<RevisionTotals> ReadTotals(int64_t revision);

  // Makes `path` the one that the SQL function on_path(revision) asks. Borrowed.
  void SetPath(const RevisionPath* path) { paths_->shown = path; }
  // The path of today, where SetPath's is another: labels are looked up by it. Null: it is the
  // same.
  void SetToday(const RevisionPath* path) { paths_->today = path; }

  // Needs SetPath and SetToday. Ascending by version, hence by passage. A label counts if the
  // document's version of today has it, or if there is none today, its newest.
  Result<std::vector<VersionSpan>> VisibleVersions(const LabelFilter& filter, const BankId& secret);
  // The first `limit` visible versions after one. Needs SetPath.
  Result<std::vector<VersionRow>> VisibleRowsAfter(VersionId version, int64_t limit);
  // Ascending: documents of which a version came or went on one of the paths only. All others look
  // the same from both. Leaves no path set.
  Result<std::vector<DocId>> DocumentsThatDiffer(const RevisionPath& a, const RevisionPath& b);
  // The visible version of a document; nullopt if there is none.
  Result<std::optional<VersionRow>> FindVisible(DocId document);
  // The newest version of a document, visible or not.
  Result<std::optional<VersionRow>> FindNewest(DocId document);
  Result<std::optional<VersionRow>> FindVersion(VersionId version);
  // The rows of `versions`, in their order; those that are gone are left out.
  Result<std::vector<VersionRow>> FindVersions(std::span<const VersionSpan> versions);
  // Every version, visible or not, that has passages in [first, end), ascending.
  Status ForEachInRange(int64_t first, int64_t end,
                        FunctionRef<Status(const VersionRow&)> on_version);
  Result<int64_t> CountVersions();
  // Every version, ascending.
  Status ForEachVersion(FunctionRef<Status(const VersionRow&)> on_version);
  // Those whose frames lie in one pack, in the order of their positions.
  Status ForEachInPack(FileId pack, FunctionRef<Status(const VersionRow&)> on_version);
  Result<std::optional<DocId>> FindDocument(std::string_view key, const BankId& secret);
  // Up to `limit` visible versions whose key or title contains `part`, ignoring ASCII case.
  Result<std::vector<VersionRow>> FindByPart(std::string_view part, int64_t limit);

  // Of any revision: by id, key, or a unique part of key or title. Errors as FindDocument of a
  // snapshot.
  Result<DocId> FindEver(std::string_view name, const BankId& secret);
  // Those of which any version matches, ascending.
  Result<std::vector<DocId>> FindEver(const LabelFilter& filter, const BankId& secret);

  struct FileRow {
    FileId id;
    FileKind kind;
    EncodingId encoding;  // of tails and segments
    int64_t length;
    uint64_t checksum;
    std::vector<std::byte> blocks;
  };
  // All files, or the one of that id.
  Result<std::vector<FileRow>> Files(FileId only = {});

  struct ShardRow {
    FileId file;
    int64_t first_passage;
    int64_t end_passage;
    int64_t passages;
    int64_t length_bytes;
    std::vector<uint64_t> blocks;  // checksums
  };
  // Ascending by passage.
  Result<std::vector<ShardRow>> Shards();

 private:
  struct Paths {
    const RevisionPath* shown = nullptr;
    const RevisionPath* today = nullptr;
  };
  Status ShowSealedColumns();
  Result<VersionRow> ReadVersion(const Statement& row);
  Result<std::optional<VersionRow>> OneVersion(Statement& statement);
  Result<std::vector<VersionSpan>> AllVisibleVersions();

  // Referred to by SQL functions, so it must outlive the connection: declared first.
  std::unique_ptr<Paths> paths_;
  BankCipher* cipher_ = nullptr;
  Database db_;
  Statement read_state_;
  Statement find_visible_;
  Statement find_version_;
  Statement find_number_;  // where there is a cipher
};

// How keys and labels are looked up (docs/bank-format.md, table documents). `secret`:
// BankCore::lookup_secret.
std::string KeyLookup(const BankId& secret, std::string_view key);
std::string LabelLookup(const BankId& secret, std::string_view name, std::string_view value);

// What a column holds: the value as text (a blob if it is one in every bank), or, with a sealer,
// the message that hides it.
BoundValue SealedValue(const std::optional<Sealer>& sealer, SealedColumn column,
                       std::string_view value);

// Labels as the catalog keeps them: a JSON object with sorted names.
std::string LabelsJson(const std::map<std::string, std::string>& labels);

inline std::span<const std::byte> BlobOf(std::string_view bytes) { return AsBytes(bytes); }

}  // namespace msa
