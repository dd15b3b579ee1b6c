// A bank: the versioned set of documents and their latents, in one folder. docs/bank-format.md is
// its byte format.
//
// One writer at a time (the file `lock`), any number of readers, in any processes. A commit is all
// or nothing, also when power fails between two writes. The bank knows nothing of models: text,
// tokens and latents are bytes to it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/passage_set.h"
#include "msa/base/dtype.h"
#include "msa/base/file.h"
#include "msa/base/function_ref.h"
#include "msa/base/ids.h"
#include "msa/base/progress.h"
#include "msa/base/status.h"

namespace msa {

// Shapes and types of the latents of one encoding. Latent row = key row + value row:
//   r  [E] of key_dtype, with one f32 scale a row if kI8
//   kv [layers, 2, G, D] of latent_dtype, with one f32 scale for each (layer, k or v, head) if kI8
struct LatentLayout {
  int64_t key_dim = 0;   // E
  int64_t layers = 0;    // memory layers
  int64_t kv_heads = 0;  // G
  int64_t head_dim = 0;  // D
  DType key_dtype = DType::kF32;
  DType latent_dtype = DType::kF32;
  bool is_sealed = false;  // stored in messages, as the bank decides; what callers see is not

  int64_t key_row_bytes() const { return key_dim * DTypeSize(key_dtype); }
  int64_t latent_row_elements() const { return layers * 2 * kv_heads * head_dim; }
  int64_t latent_row_bytes() const { return latent_row_elements() * DTypeSize(latent_dtype); }
  int64_t latent_row_scales() const {
    return latent_dtype == DType::kI8 ? layers * 2 * kv_heads : 0;
  }
  friend bool operator==(const LatentLayout&, const LatentLayout&) = default;
};

// A backbone and adapter that latents were made with. Several can stand side by side.
struct EncodingInfo {
  EncodingId id;
  std::string fingerprint;  // hex; equal fingerprints may share latents
  std::string
      config_json;  // what the engine needs to use them: model, layers, W, P, dtypes; opaque here
  LatentLayout layout;
};

struct PassageInfo {
  PassageId id;
  int64_t begin = 0;  // bytes into the kept text
  int64_t end = 0;
  int32_t page = 0;  // 1-based; 0: none
  int32_t num_tokens = 0;
};

struct NewPassage {
  int64_t begin = 0;
  int64_t end = 0;
  int32_t page = 0;
  std::vector<int32_t> tokens;  // what the model encodes
};

struct NewDocument {
  std::string key;  // identifies the document in the bank
  std::string title;
  std::string text;
  std::string source_path;
  std::string source_sha256;
  int64_t source_bytes = 0;
  std::string media_type;
  std::vector<int64_t> page_begin;
  std::map<std::string, std::string> labels;
  std::vector<NewPassage> passages;
};

struct DocumentInfo {
  DocId id;
  VersionId version;
  std::string key;
  std::string title;
  std::string source_path;
  std::string source_sha256;
  int64_t source_bytes = 0;
  std::string media_type;
  std::map<std::string, std::string> labels;
  int64_t text_bytes = 0;
  int64_t num_passages = 0;
  int64_t num_tokens = 0;
  RevisionId born;  // revision that brought this version
  int64_t added_unix_ms = 0;
  bool text_kept = true;  // false: retention has dropped the text, and with it the passages
};

struct DocumentContent {
  std::string text;
  std::vector<int64_t> page_begin;
  std::vector<PassageInfo> passages;
  std::vector<std::vector<int32_t>> tokens;  // [passage][token]
};

// Latents of consecutive passages of one version, in the layout's types.
struct LatentBlock {
  std::vector<int64_t> chunks;       // [passages] latents of each
  int64_t chunk_tokens = 0;          // P
  std::vector<std::byte> keys;       // [N] rows of key_row_bytes
  std::vector<float> key_scales;     // [N] if keys are kI8, else empty
  std::vector<std::byte> latents;    // [N] rows of latent_row_bytes
  std::vector<float> latent_scales;  // [N * latent_row_scales]
};

// A contiguous run of routing keys in memory, as kernels/route.h wants it; owned by the snapshot's
// key cache.
struct KeyRun {
  const std::byte* keys = nullptr;
  const float* scales = nullptr;
  std::vector<int64_t> chunk_begin;
  std::vector<PassageId> passages;  // ascending
};

struct LexicalHit {
  PassageId passage;
  float score;  // BM25 over what this snapshot sees, > 0
};

// Documents whose labels equal all of these; empty: every document. "title", "path" and "type"
// match the document's own fields.
using LabelFilter = std::map<std::string, std::string>;

struct BankStats {
  int64_t documents = 0;
  int64_t passages = 0;
  int64_t unkept_passages = 0;  // of these, whose text is not kept: nothing finds them
  int64_t tokens = 0;
  int64_t text_bytes = 0;
  int64_t revisions = 0;
  // On disk, by kind: "catalog", "segments", "packs", "lexical".
  std::map<std::string, int64_t> disk_bytes;
};

// How long a bank keeps what only older revisions see, in days since the version was superseded.
struct Retention {
  static constexpr int64_t kForever = -1;
  int64_t text_days = kForever;
  int64_t latents_days = 30;
  friend bool operator==(const Retention&, const Retention&) = default;
};

// What an audit found sound.
struct AuditReport {
  int64_t revisions = 0;
  int64_t chain_entries = 0;
  std::string chain_head;  // hex
  int64_t erase_epoch = 0;
  int64_t verified_bytes = 0;  // of packs, segments and lexical shards
  // What could not be checked without the keys of an encrypted bank; empty: everything was.
  std::vector<std::string> unchecked;
};

struct EncodingStats {
  EncodingInfo info;
  bool is_pending = false;       // a migration is making it: nothing answers with it yet
  int64_t encoded_passages = 0;  // visible ones with latents
  int64_t latents = 0;
};

// One revision, unchanged for as long as the object lives, whatever is written meanwhile, until
// documents are erased. Thread-safe.
class Snapshot {
 public:
  virtual ~Snapshot() = default;

  virtual RevisionId revision() const = 0;
  // kUnavailable if documents were erased since the snapshot was taken. All that reads text or
  // latents fails likewise then; what was read before must not be used. Ask at the end of a
  // request.
  virtual Status CheckErasures() const = 0;
  virtual Result<BankStats> Stats() const = 0;
  // What the bank keeps today, whatever revision this is.
  virtual Result<Retention> GetRetention() const = 0;
  // A pending one first, the one that answers last. Counts what the filter sees, nothing else.
  virtual Result<std::vector<EncodingStats>> Encodings(const LabelFilter& filter = {}) const = 0;

  // In order of addition; on_document returns false to stop.
  virtual Status ForEachDocument(const LabelFilter& filter,
                                 FunctionRef<bool(const DocumentInfo&)> on_document) const = 0;
  // By id ("12"), key, or a unique part of key or title; kInvalidArgument lists the candidates if
  // it is ambiguous.
  virtual Result<DocumentInfo> FindDocument(std::string_view name) const = 0;
  virtual Result<DocumentInfo> GetDocument(VersionId version) const = 0;
  // kFailedPrecondition if its text is not kept.
  virtual Result<DocumentContent> ReadContent(VersionId version) const = 0;
  // The version that holds a passage and its index in it, which is that in the version's content.
  struct PassageAddress {
    VersionId version;
    int64_t index;
  };
  virtual Result<PassageAddress> FindPassage(PassageId passage) const = 0;

  // BM25 (k1 1.2, b 0.75) over the passages this snapshot and filter see; best first, ties to the
  // smaller id. `query` is the user's text, never FTS5 syntax. No term in common: no hits.
  virtual Result<std::vector<LexicalHit>> SearchLexical(std::string_view query, int64_t k,
                                                        const LabelFilter& filter) const = 0;

  // All visible routing keys of an encoding, loaded once and shared. The runs live as long as the
  // snapshot.
  virtual Result<std::span<const KeyRun>> RoutingKeys(EncodingId encoding) const = 0;
  // The latents of a passage and of those after it in its version, `count` at most, as many as lie
  // together; checked against their checksums. kNotFound if it is not encoded.
  virtual Result<LatentBlock> ReadLatentRun(EncodingId encoding, PassageId passage,
                                            int64_t count) const = 0;
  // Of one passage.
  Result<LatentBlock> ReadLatents(EncodingId encoding, PassageId passage) const {
    return ReadLatentRun(encoding, passage, 1);
  }
  // How many latents each passage of a version has; -1: it is not encoded.
  virtual Result<std::vector<int64_t>> CountLatents(EncodingId encoding,
                                                    VersionId version) const = 0;
  // Runs of passages that have no latents of this encoding yet, ascending; a version may have
  // several, and none if its text is not kept. num_tokens is an estimate where part of a version is
  // encoded.
  struct Unencoded {
    VersionId version;
    int64_t first_passage;
    int64_t num_passages;
    int64_t num_tokens;
  };
  virtual Result<std::vector<Unencoded>> FindUnencoded(EncodingId encoding) const = 0;

  // Passages of the documents that match: the one set that every head ranks within. Kept by the
  // bank for the filters used last.
  virtual Result<std::shared_ptr<const VisiblePassages>> MatchingPassages(
      const LabelFilter& filter) const = 0;
};

enum class ChangeKind { kAdded, kReplaced, kRemoved, kErased };
// "added", "replaced", …
std::string_view ChangeName(ChangeKind change);

// What became of one document.
struct DocumentChange {
  std::string key;  // of an erased document its number in the chain, hex
  ChangeKind change = ChangeKind::kAdded;
  friend bool operator==(const DocumentChange&, const DocumentChange&) = default;
};

// As the format numbers them.
enum class RevisionKind { kWrite = 1, kRevert = 2, kErase = 3 };

struct RevisionInfo {
  RevisionId id;
  RevisionId parent;  // not valid for the first
  RevisionKind kind = RevisionKind::kWrite;
  int64_t unix_ms = 0;
  std::string author;
  std::string message;
  int64_t documents = 0;  // that it sees
  // Against the parent; of one that went back, against the state it left. What was erased since is
  // not in it.
  std::vector<DocumentChange> changes;
};

// kErased: the document was erased from this bank and is not readmitted, so it was left out.
enum class AddOutcome { kAdded, kReplaced, kUnchanged, kErased };

// Certificates are small; a larger file is none.
inline constexpr int64_t kMaxCertificateBytes = int64_t{64} << 20;

struct EraseRequest {
  // Ids, keys, or unique parts of keys or titles, of documents of any revision.
  std::vector<std::string> documents;
  // Unless empty: documents of which any version matches.
  LabelFilter where;
};

struct EraseReport {
  std::vector<std::string> numbers;  // of the documents in the chain, hex; what a certificate names
  RevisionId revision;
  // Empty: done, nothing is left. Otherwise nothing answers with the documents any more, but this
  // still holds some of them: erase again, or write anything, when it has let go.
  std::string waits_for;
};

// What verifying a certificate of erasure showed.
struct ErasureProof {
  int64_t documents = 0;
  int64_t chain_entries = 0;
  std::vector<std::string> sharing;  // keys of documents that share text with the content given
};

struct CompactReport {
  Retention retention;
  int64_t bytes_before = 0;  // of the catalog and all that it names
  int64_t bytes_after = 0;
  int64_t files = 0;                 // written anew or removed
  int64_t dropped_texts = 0;         // of versions
  int64_t dropped_latents = 0;       // of passages, in any encoding
  std::vector<std::string> damaged;  // files left as they are, because they cannot be read
};

// Holds the bank's lock. Nothing is visible to anyone before Commit; dropping the object drops what
// was not committed. One thread.
class BankWriter {
 public:
  virtual ~BankWriter() = default;

  // kUnchanged: the key is there with the same text, title and labels. kReplaced: the key's older
  // version dies in this revision. Passages with the tokens of one of the version before keep its
  // latents. Bounded memory: text goes to the pack file at once.
  virtual Result<AddOutcome> Add(NewDocument document) = 0;
  // What Add of a document with these fields would do.
  virtual Result<AddOutcome> Compare(std::string_view key, std::string_view title,
                                     std::string_view text,
                                     const std::map<std::string, std::string>& labels) = 0;
  // The document of that key is gone from this revision on; older revisions keep it. False: there
  // is none.
  virtual Result<bool> Remove(std::string_view key) = 0;
  // Documents added, replaced or removed since the last commit.
  virtual int64_t pending_documents() const = 0;
  virtual int64_t pending_text_bytes() const = 0;
  // Passages added by this writer that kept latents of the newest encoding.
  virtual int64_t reused_passages() const = 0;
  // Makes them a revision, with their lexical shard. No change: returns the current revision. Where
  // much of the bank's space is dead after it, it is compacted, within what is kept.
  virtual Result<RevisionId> Commit(std::string_view message) = 0;

  // Goes back: a new revision that sees what `revision` saw. One row, whatever the bank's size.
  // kNotFound: there is no such revision. kFailedPrecondition: documents wait for Commit.
  virtual Result<RevisionId> Revert(RevisionId revision, std::string_view message) = 0;

  // A certificate of the chain as it is now, as text, signed with the key of that file (made if
  // absent; empty: DefaultSigningKeyPath). The chain names the key first, which is a commit unless
  // it does already. With `erased`, EraseReport::numbers, it certifies that those are erased.
  // kFailedPrecondition: documents wait for Commit, an erasure is not done, or the key lies in the
  // bank.
  virtual Result<std::string> Certify(const std::string& key_path,
                                      const std::vector<std::string>& erased = {}) = 0;

  // Erases documents with all their versions: text, tokens, latents, index, names and labels. From
  // its first commit nothing answers with them; then their bytes are overwritten. A request that
  // names nothing goes on with an erasure that had to wait. Their keys are remembered as hashes, so
  // that Add refuses them. kNotFound names what is not there; then nothing is erased.
  virtual Result<EraseReport> Erase(const EraseRequest& request, std::string_view message) = 0;

  // Drops what the bank's retention no longer keeps, and writes files anew where that gives enough
  // space back. Makes no revision. `retention` becomes the bank's; nullopt: it stays as it is.
  // kFailedPrecondition: documents or latents wait for their commit, or an erasure for its end.
  virtual Result<CompactReport> Compact(std::optional<Retention> retention) = 0;

  // The encoding of this fingerprint, made if absent; kFailedPrecondition if its layout differs.
  virtual Result<EncodingId> OpenEncoding(const EncodingInfo& encoding) = 0;
  // Latents of passages [first_passage, first_passage + block.chunks.size()) of a committed
  // version. Buffered in the tail file; visible after CommitLatents. Latents are derived and make
  // no revision.
  virtual Status AddLatents(EncodingId encoding, VersionId version, int64_t first_passage,
                            const LatentBlock& block) = 0;
  virtual Status CommitLatents() = 0;

  // Begins to move the bank to an encoding, or goes on with it: it is pending until
  // FinishMigration, and what another migration has made goes. Of a bank without an encoding it is
  // the first, and of one that has it already there is nothing to finish. kFailedPrecondition: as
  // OpenEncoding, or documents or latents wait.
  virtual Result<EncodingId> BeginMigration(const EncodingInfo& encoding) = 0;
  // The pending encoding answers from here on, and the latents of all others go, of every revision:
  // one commit, which the chain names. No revision: what documents say is as it was.
  virtual Status FinishMigration() = 0;
};

// Of one writer.
struct WriteOptions {
  std::string author;    // of its revisions; empty: the name of the user who runs the program
  bool readmit = false;  // erased documents may be added again
  // Of erasures and of Compact.
  ProgressMode progress = ProgressMode::kOff;
};

struct BankOptions {
  int64_t passage_tokens = 256;  // W, written into bank.json
  int64_t chunk_tokens = 64;     // P, likewise
  // Nothing that documents say or are called is written in plain. Keys lie outside of the bank:
  // keyring.h says where the keyring and the master key are looked for.
  bool encrypt = false;
};

class Bank {
 public:
  // kAlreadyExists if the folder holds anything but what an interrupted Create left.
  static Result<std::unique_ptr<Bank>> Create(const std::string& path, const BankOptions& options,
                                              FileSystem& fs = PosixFileSystem());
  // kNotFound: no such folder, an empty one, or one where Create was interrupted. kInvalidArgument:
  // a file or folder that is no bank. kUnimplemented: newer format. kDataLoss: damage, named. A
  // folder that cannot be written opens for reading only.
  static Result<std::unique_ptr<Bank>> Open(const std::string& path,
                                            FileSystem& fs = PosixFileSystem());
  // Audit of an encrypted bank that needs none of its keys, for those who keep it and must not read
  // it: the chain, `head`, the rows and columns that are in plain, and the checksum of every block
  // and frame. Of a bank in plain: all that Audit does. Errors as Open and Audit.
  static Result<AuditReport> AuditWithoutKeys(const std::string& path,
                                              std::optional<std::string_view> anchor = std::nullopt,
                                              ProgressMode progress = ProgressMode::kOff,
                                              FileSystem& fs = PosixFileSystem());
  virtual ~Bank() = default;

  virtual const std::string& path() const = 0;
  virtual const BankOptions& options() const = 0;
  virtual bool read_only() const = 0;

  // The latest revision; cheap when nothing changed.
  virtual Result<std::shared_ptr<const Snapshot>> Latest() = 0;
  // A revision of the past, 0 to the latest. Labels of a filter are today's, whatever the revision,
  // because they say who may read. kNotFound: there is no such revision.
  virtual Result<std::shared_ptr<const Snapshot>> At(RevisionId revision) = 0;
  // Every revision, newest first; on_revision returns false to stop. The catalog is held meanwhile.
  virtual Status Log(FunctionRef<bool(const RevisionInfo&)> on_revision) = 0;
  // What changes on the way from one revision to another, by document. kNotFound as At.
  virtual Result<std::vector<DocumentChange>> Diff(RevisionId from, RevisionId to) = 0;
  // Recomputes what the chain commits to from the rows that are kept, and verifies every block of
  // every file, and `head`. `anchor`: the text of a certificate that was signed earlier; the chain
  // must continue from its head, which a chain alone cannot show of a bank that was rolled back
  // whole. kDataLoss names the first thing that is wrong. Reads the whole bank.
  virtual Result<AuditReport> Audit(std::optional<std::string_view> anchor = std::nullopt,
                                    ProgressMode progress = ProgressMode::kOff) = 0;
  // Whether the bank still is what a certificate of erasure says, given as text: an audit; no row,
  // key, latent, token or posting of those documents; every byte of the folder belongs to something
  // else. `content`: also names documents that share eight words in a row with it. kDataLoss names
  // what is not so. Copies that somebody made are outside of it.
  virtual Result<ErasureProof> VerifyErased(std::string_view certificate,
                                            std::optional<std::string_view> content = std::nullopt,
                                            ProgressMode progress = ProgressMode::kOff) = 0;
  // Takes the lock, and goes on with an erasure that waits. kUnavailable: another writer holds it
  // (its process id is named); kFailedPrecondition: read-only. Removes what a crashed writer left
  // beyond the committed lengths.
  virtual Result<std::unique_ptr<BankWriter>> StartWrite(WriteOptions options = {}) = 0;
};

}  // namespace msa
