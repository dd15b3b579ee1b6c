#include "msa/bank/lexical_shard.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "msa/bank/fts5.h"
#include "msa/bank/image_vfs.h"
#include "msa/bank/lexical_text.h"
#include "msa/base/check.h"

namespace msa {
namespace {

constexpr int64_t kMaxLength = 65535;
constexpr int64_t kMaxPassage = int64_t{1} << 60;  // far enough from 2^63 to add to
// Postings collected in memory before FTS5 writes a level; more, and "optimize" merges the levels.
constexpr int64_t kHashBytes = int64_t{64} << 20;

// Of the connection, not of the image.
constexpr char kConnectionPragmas[] =
    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY;";

std::string CreateTables() {
  std::string tokenizer;
  for (const std::string_view argument : kTokenizerArguments) {
    tokenizer += (tokenizer.empty() ? "'" : " '") + std::string(argument) + "'";
  }
  return "PRAGMA page_size=" + std::to_string(kSqlitePageBytes) + "; " + kConnectionPragmas +
         "CREATE VIRTUAL TABLE t USING fts5(x, content='', tokenize=\"" + tokenizer +
         "\");"
         "CREATE TABLE terms(term TEXT PRIMARY KEY, passages INTEGER NOT NULL) WITHOUT ROWID;"
         "CREATE TABLE shard(format INTEGER NOT NULL, first_passage INTEGER NOT NULL,"
         " passages INTEGER NOT NULL, tokens INTEGER NOT NULL, lengths BLOB NOT NULL);"
         "INSERT INTO t(t, rank) VALUES('hashsize', " +
         std::to_string(kHashBytes) + "); BEGIN;";
}

// The row of the table `shard`.
struct ShardHeader {
  int64_t first_passage = 0;
  int64_t passages = 0;
  int64_t tokens = 0;
  std::vector<uint16_t> lengths;
};

Result<ShardHeader> ReadShardHeader(const Database& db) {
  MSA_ASSIGN_OR_RETURN(
      Statement row,
      db.Prepare("SELECT format, first_passage, passages, tokens, lengths FROM shard"));
  MSA_ASSIGN_OR_RETURN(const bool there, row.Step());
  if (!there) return DataLoss("the header row is missing");
  if (row.Int(0) != 1) {
    return Unimplemented("format " + std::to_string(row.Int(0)) + ", this program reads 1");
  }
  ShardHeader header{row.Int(1), row.Int(2), row.Int(3), {}};
  const auto lengths = row.Blob(4);
  header.lengths.resize(lengths.size() / sizeof(uint16_t));
  if (!lengths.empty()) {
    std::memcpy(header.lengths.data(), lengths.data(), header.lengths.size() * sizeof(uint16_t));
  }
  const auto gaps = std::ranges::count(header.lengths, 0);
  const auto tokens = std::accumulate(header.lengths.begin(), header.lengths.end(), int64_t{0});
  if (header.first_passage < 0 || header.first_passage > kMaxPassage ||
      lengths.size() % sizeof(uint16_t) != 0 || header.tokens != tokens ||
      header.passages != static_cast<int64_t>(header.lengths.size()) - gaps) {
    return DataLoss("the header row contradicts itself");
  }
  return header;
}

// FTS5's varint: 7 bits a byte, big end first.
int64_t ReadVarint(std::span<const std::byte> bytes) {
  int64_t value = 0;
  for (const std::byte b : bytes) {
    value = (value << 7) | (static_cast<int64_t>(b) & 0x7f);
    if ((static_cast<int>(b) & 0x80) == 0) break;
  }
  return value;
}

std::string Quoted(const QuestionTerm& term) { return '"' + term.word + '"'; }

// "a" OR "b" …, for the terms `which`.
template <class Indices>
std::string AnyOf(const std::vector<QuestionTerm>& terms, const Indices& which) {
  std::string expression;
  for (const size_t i : which) {
    if (!expression.empty()) expression += " OR ";
    expression += Quoted(terms[i]);
  }
  return expression;
}

}  // namespace

Result<std::unique_ptr<LexicalShardBuilder>> LexicalShardBuilder::Create(PassageId first_passage) {
  std::unique_ptr<LexicalShardBuilder> builder(new LexicalShardBuilder);
  builder->first_passage_ = first_passage.value;
  MSA_ASSIGN_OR_RETURN(builder->db_, Database::Open(":memory:", SQLITE_OPEN_READWRITE));
  MSA_RETURN_IF_ERROR(builder->db_.Execute(CreateTables().c_str()));
  MSA_ASSIGN_OR_RETURN(builder->insert_,
                       builder->db_.Prepare("INSERT INTO t(rowid, x) VALUES(?1, ?2)"));
  return builder;
}

Result<std::unique_ptr<LexicalShardBuilder>> LexicalShardBuilder::Reopen(
    std::span<const std::byte> image) {
  std::unique_ptr<LexicalShardBuilder> builder(new LexicalShardBuilder);
  MSA_ASSIGN_OR_RETURN(builder->db_, Database::Open(":memory:", SQLITE_OPEN_READWRITE));
  Database& db = builder->db_;
  db.LimitAllocations(MostBytesOfImage(image.size()));
  auto* copy = static_cast<unsigned char*>(sqlite3_malloc64(image.size()));
  if (copy == nullptr) return ResourceExhausted("no memory for a lexical shard");
  std::memcpy(copy, image.data(), image.size());
  const auto size = static_cast<sqlite3_int64>(image.size());
  // Takes `copy`, also when it fails.
  if (sqlite3_deserialize(db.handle(), "main", copy, size, size,
                          SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE) !=
      SQLITE_OK) {
    return db.LastError("open a lexical shard");
  }
  MSA_RETURN_IF_ERROR(db.Execute(kConnectionPragmas));
  MSA_ASSIGN_OR_RETURN(const ShardHeader header, ReadShardHeader(db));
  builder->first_passage_ = header.first_passage;
  builder->slots_ = static_cast<int64_t>(header.lengths.size());
  builder->passages_ = header.passages;
  MSA_RETURN_IF_ERROR(db.Execute("BEGIN; DELETE FROM shard; DELETE FROM terms"));
  MSA_ASSIGN_OR_RETURN(builder->remove_,
                       db.Prepare("INSERT INTO t(t, rowid, x) VALUES('delete', ?1, ?2)"));
  return builder;
}

void LexicalShardBuilder::PrepareText(std::string_view title, std::string_view text) {
  buffer_.clear();
  AppendForIndex(title, &buffer_);
  buffer_.push_back('\n');
  AppendForIndex(text, &buffer_);
}

Status LexicalShardBuilder::Add(PassageId passage, std::string_view title, std::string_view text) {
  const int64_t slot = passage.value - first_passage_;
  if (slot < slots_) {
    return DataLoss("passage " + std::to_string(passage.value) + " comes twice, or out of order");
  }
  PrepareText(title, text);
  MSA_RETURN_IF_ERROR(insert_.Bind(slot + 1, buffer_).Run());
  slots_ = slot + 1;
  ++passages_;
  text_bytes_ += static_cast<int64_t>(buffer_.size());
  return OkStatus();
}

Status LexicalShardBuilder::Remove(PassageId passage, std::string_view title,
                                   std::string_view text) {
  const int64_t slot = passage.value - first_passage_;
  if (slot < 0 || slot >= slots_ || removed_.Contains(slot)) {
    return DataLoss("a lexical shard does not hold passage " + std::to_string(passage.value));
  }
  PrepareText(title, text);
  MSA_RETURN_IF_ERROR(remove_.Bind(slot + 1, buffer_).Run());
  removed_.AddRange(slot, 1);
  --passages_;
  return OkStatus();
}

Result<std::vector<uint16_t>> LexicalShardBuilder::ReadLengths(int64_t* total) {
  std::vector<uint16_t> lengths(static_cast<size_t>(slots_));
  MSA_ASSIGN_OR_RETURN(Statement sizes, db_.Prepare("SELECT id, sz FROM t_docsize"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, sizes.Step());
    if (!row) break;
    const int64_t tokens = ReadVarint(sizes.Blob(1));
    const int64_t slot = sizes.Int(0) - 1;
    if (slot < 0 || slot >= slots_) return DataLoss("a lexical shard has a row beyond its end");
    // 0 marks a gap, so a passage without any word counts as one long.
    lengths[static_cast<size_t>(slot)] =
        static_cast<uint16_t>(std::clamp<int64_t>(tokens, 1, kMaxLength));
    *total += std::clamp<int64_t>(tokens, 1, kMaxLength);
  }
  return lengths;
}

Status LexicalShardBuilder::WriteTermCounts() {
  MSA_RETURN_IF_ERROR(
      db_.Execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, t, row)"));
  const std::string copy = "INSERT INTO terms SELECT term, doc FROM temp.vocabulary WHERE doc >= " +
                           std::to_string(kFrequentTerm);
  MSA_RETURN_IF_ERROR(db_.Execute(copy.c_str()));
  return db_.Execute("DROP TABLE temp.vocabulary");
}

Status LexicalShardBuilder::CleanRemoved() {
  if (removed_.size() == 0) return OkStatus();
  MSA_RETURN_IF_ERROR(
      db_.Execute("VACUUM; CREATE VIRTUAL TABLE temp.postings USING fts5vocab(main, t, instance)"));
  MSA_ASSIGN_OR_RETURN(Statement postings, db_.Prepare("SELECT doc FROM temp.postings"));
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, postings.Step());
    if (!row) return OkStatus();
    if (removed_.Contains(postings.Int(0) - 1)) {
      return DataLoss("a lexical shard holds other words of a passage than its text has");
    }
  }
}

Result<std::vector<std::byte>> LexicalShardBuilder::Finish() {
  MSA_RETURN_IF_ERROR(db_.Execute("COMMIT; INSERT INTO t(t) VALUES('optimize')"));
  int64_t tokens = 0;
  MSA_ASSIGN_OR_RETURN(const std::vector<uint16_t> lengths, ReadLengths(&tokens));
  MSA_RETURN_IF_ERROR(WriteTermCounts());
  MSA_ASSIGN_OR_RETURN(Statement header,
                       db_.Prepare("INSERT INTO shard VALUES(1, ?1, ?2, ?3, ?4)"));
  MSA_RETURN_IF_ERROR(
      header.Bind(first_passage_, passages_, tokens, std::as_bytes(std::span(lengths))).Run());
  MSA_RETURN_IF_ERROR(CleanRemoved());

  sqlite3_int64 size = 0;
  unsigned char* image = sqlite3_serialize(db_.handle(), "main", &size, 0);
  if (image == nullptr) return ResourceExhausted("no memory for a lexical shard");
  const auto* begin = reinterpret_cast<const std::byte*>(image);
  std::vector<std::byte> bytes(begin, begin + size);
  sqlite3_free(image);
  return bytes;
}

void LexicalTopK::Offer(Hit hit) {
  if (heap_.size() < k_) {
    heap_.push_back(hit);
    std::push_heap(heap_.begin(), heap_.end(), Better);
  } else if (k_ > 0 && Better(hit, heap_.front())) {
    std::pop_heap(heap_.begin(), heap_.end(), Better);
    heap_.back() = hit;
    std::push_heap(heap_.begin(), heap_.end(), Better);
  }
}

std::vector<LexicalTopK::Hit> LexicalTopK::TakeSorted() {
  std::sort(heap_.begin(), heap_.end(), Better);
  return std::move(heap_);
}

Result<std::shared_ptr<LexicalShard>> LexicalShard::Open(const std::string& path, int64_t length,
                                                         std::vector<uint64_t> blocks,
                                                         BankCipher* cipher) {
  std::shared_ptr<LexicalShard> shard(new LexicalShard);
  shard->path_ = path;
  MSA_ASSIGN_OR_RETURN(auto image, ShardImage::Open(path, length, std::move(blocks), cipher));
  MSA_ASSIGN_OR_RETURN(shard->db_, OpenImage(std::move(image)));
  const Status status = shard->ReadHeader();
  if (!status.ok()) return status.WithContext("lexical shard " + path);
  return shard;
}

Status LexicalShard::ReadHeader() {
  MSA_RETURN_IF_ERROR(db_.Execute("PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4096"));
  MSA_ASSIGN_OR_RETURN(ShardHeader header, ReadShardHeader(db_));
  first_passage_ = header.first_passage;
  passages_ = header.passages;
  tokens_ = header.tokens;
  lengths_ = std::move(header.lengths);

  MSA_RETURN_IF_ERROR(RegisterPassageScorer(db_));
  MSA_RETURN_IF_ERROR(
      db_.Execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, t, row)"));
  MSA_ASSIGN_OR_RETURN(term_count_,
                       db_.Prepare("SELECT passages FROM terms WHERE term = ?1 UNION ALL "
                                   "SELECT doc FROM temp.vocabulary WHERE term = ?1 LIMIT 1"));
  MSA_ASSIGN_OR_RETURN(term_walk_, db_.Prepare("SELECT rowid FROM t WHERE t MATCH ?1"));
  // The scorer answers 0 for every row: all the work happens inside one step.
  MSA_ASSIGN_OR_RETURN(search_,
                       db_.Prepare("SELECT 1 FROM t WHERE t MATCH ?1 AND msa_score(t, ?2)"));
  return OkStatus();
}

LexicalShard::Totals LexicalShard::CountVisible(const PassageSet& visible) const {
  Totals totals;
  totals.passages = visible.CountRange(first_passage(), end_passage());
  if (totals.passages == passages_) {
    totals.tokens = tokens_;
    return totals;
  }
  for (size_t slot = 0; slot < lengths_.size(); ++slot) {
    if (visible.Contains(first_passage_ + static_cast<int64_t>(slot))) {
      totals.tokens += lengths_[slot];
    }
  }
  return totals;
}

Result<int64_t> LexicalShard::PassagesWith(const QuestionTerm& term) {
  const std::lock_guard lock(mutex_);
  MSA_ASSIGN_OR_RETURN(const bool row, term_count_.Bind(term.stem).Step());
  const int64_t count = row ? term_count_.Int(0) : 0;
  term_count_.Reset();
  return count;
}

Result<int64_t> LexicalShard::VisiblePassagesWith(const QuestionTerm& term,
                                                  const PassageSet& visible) {
  const std::lock_guard lock(mutex_);
  int64_t count = 0;
  const std::string expression = Quoted(term);
  term_walk_.Bind(expression);
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool row, term_walk_.Step());
    if (!row) return count;
    if (visible.Contains(first_passage_ + term_walk_.Int(0) - 1)) ++count;
  }
}

Status LexicalShard::Search(const LexicalRequest& request, LexicalTopK* top) {
  std::vector<size_t> all(request.terms.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  std::string expression = AnyOf(request.terms, all);
  // FTS5 reaches the candidates through the rarer terms' postings and leaps over the others'.
  if (!request.candidates.empty()) {
    expression = '(' + AnyOf(request.terms, request.candidates) + ") AND (" + expression + ')';
  }
  PassageScorer scorer;
  scorer.first_phrase = static_cast<int>(request.candidates.size());
  scorer.weights = request.weights;
  scorer.lengths = lengths_;
  scorer.first_passage = first_passage_;
  scorer.average_length = request.average_length;
  scorer.visible = request.visible;
  scorer.top = top;

  const std::lock_guard lock(mutex_);
  search_.Bind(expression);
  BindPassageScorer(search_, 2, &scorer);
  const Status status = search_.Run();
  return status.ok() ? status : status.WithContext("lexical shard " + path_);
}

}  // namespace msa
