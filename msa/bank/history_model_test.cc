// Random operations of every kind on a bank and on a plain model of it, with power lost at random
// writes and syncs, of SQLite's files too, or at every one of a history: no acknowledged revision
// is lost, no erased document is there again, and every revision equals the model's.
// MSA_MODEL_SEEDS says how many histories to run (6), MSA_MODEL_FIRST_SEED which is the first (1),
// MSA_MODEL_STRIDE at which writes and syncs of one to look: 1 at every one, by default at every
// 150th; MSA_MODEL_OFFSET at which of them first (0), so that processes may share one history.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "msa/bank/backup.h"
#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/fault_file_system.h"
#include "msa/bank/writer.h"
#include "msa/base/hash.h"

namespace msa {
namespace {

constexpr int kSteps = 300;
// Power goes within so many writes and syncs of an opening, or not before it is opened again.
constexpr unsigned kMaxOperations = 600;
constexpr int64_t kNever = int64_t{1} << 40;
constexpr int64_t kSmallSeal = 1500;
const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};

struct Document {
  std::vector<std::string> words;  // a passage each
  std::map<std::string, std::string> labels;
  int64_t version = 0;  // tells this addition from all others
  friend bool operator==(const Document& a, const Document& b) {
    return a.words == b.words && a.labels == b.labels;
  }
};

// What a revision sees, by key.
using State = std::map<std::string, Document>;

// All that the bank has promised.
struct Model {
  std::vector<State> revisions = {{}};  // by number
  std::set<std::string> erased;
  // What was erased in the order of it, readmitted since or not.
  std::vector<std::string> erasures;
  // Versions that were not in the newest revision while the bank kept no superseded text.
  std::set<int64_t> droppable;
  bool keeps_text = true;

  const State& newest() const { return revisions.back(); }
  void Erase(const std::set<std::string>& keys) {
    for (State& state : revisions) {
      for (const std::string& key : keys) state.erase(key);
    }
    erased.insert(keys.begin(), keys.end());
    erasures.insert(erasures.end(), keys.begin(), keys.end());
    revisions.push_back(revisions.back());
  }
  // What is not in the newest revision may have lost its text.
  void NoteDroppable() {
    if (keeps_text) return;
    for (const State& state : revisions) {
      for (const auto& [key, document] : state) {
        if (!IsNewest(key, document)) droppable.insert(document.version);
      }
    }
  }
  bool IsNewest(const std::string& key, const Document& document) const {
    const auto found = newest().find(key);
    return found != newest().end() && found->second.version == document.version;
  }
};

int32_t TokenOf(const std::string& word) {
  return static_cast<int32_t>(std::hash<std::string>()(word) % 100000);
}

// A word that no other document has comes first; the title is the same for all.
NewDocument ToNewDocument(const std::string& key, const Document& document) {
  NewDocument added = MakeDocument(key, "title", "", 0);
  added.labels = document.labels;
  for (const std::string& word : document.words) {
    const auto begin = static_cast<int64_t>(added.text.size());
    added.text += word + " ";
    added.passages.push_back({begin, static_cast<int64_t>(added.text.size()), 0, {TokenOf(word)}});
  }
  return added;
}

// Latents follow from tokens, as a model's do.
LatentBlock LatentsOf(int32_t token) { return MakeLatents(kLayout, {1 + token % 2}, token % 97); }

class History {
 public:
  // In a new folder `root`, which holds the bank, its keyring and its backup.
  History(unsigned seed, const std::string& root)
      : random_(seed), root_(root), path_(root + "/bank"), keyrings_("MSA_KEYRINGS", root) {
    std::filesystem::create_directory(root);
  }
  // Power is not lost; what would be left if it were is looked at, at every `stride`th write or
  // sync from number `offset` on. Which they are changes nothing of the history.
  History(unsigned seed, const std::string& root, int64_t stride, int64_t offset)
      : History(seed, root) {
    stride_ = stride;
    offset_ = offset;
  }
  void Encrypt() { encrypt_ = true; }

  void Run() {
    ASSERT_OK(Bank::Create(path_, {.encrypt = encrypt_}));
    ASSERT_NO_FATAL_FAILURE(Open());
    for (int step = 0; step < kSteps; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      ASSERT_NO_FATAL_FAILURE(Step());
    }
    fail_at_ = kNever;
    ASSERT_NO_FATAL_FAILURE(LosePowerAndOpen());
    for (size_t r = 0; r < model_.revisions.size(); ++r) ASSERT_NO_FATAL_FAILURE(ExpectEqual(r));
    ASSERT_NO_FATAL_FAILURE(ExpectLogEqualsDiffs());
    ASSERT_OK(bank_->Audit());
    EXPECT_GT(operations_, 0);
    Close();  // which writes too: SQLite copies its WAL
  }

  int64_t writes_and_syncs() const { return writes_and_syncs_; }
  int64_t points() const { return points_; }
  int64_t images() const { return images_; }

  int64_t operations() const { return operations_; }
  int64_t power_losses() const { return power_losses_; }
  int64_t dropped() const { return dropped_; }

 private:
  void Step() {
    const unsigned choice = Random(100);
    if (choice < 43) return Add();
    if (choice < 45) return Sync();
    if (choice < 55) return Remove();
    if (choice < 72) return Commit();
    if (choice < 78) return Revert();
    if (choice < 82) return Erase();
    if (choice < 88) return Encode();
    if (choice < 89) return Migrate();
    if (choice < 91) return Compact();
    if (choice < 92) return Backup();
    if (choice < 93) return Restore();
    if (choice < 94) return GiveUp();
    if (choice < 97) return LosePowerAndOpen();
    ASSERT_OK(bank_->Audit());
  }

  unsigned Random(unsigned n) { return static_cast<unsigned>(random_() % n); }
  std::string RandomKey() { return "key" + std::to_string(Random(14)) + "x"; }

  void Open() {
    fs_ = std::make_unique<FaultFileSystem>(fail_at_);
    if (stride_ > 0) {
      fs_->SetObserver([this] {
        if (writes_and_syncs_++ % stride_ == offset_) ExpectSoundAfterPowerLoss();
      });
    }
    auto core = OpenCore(path_, *fs_);
    ASSERT_OK(core);
    core_ = *std::move(core);
    auto bank = Bank::Open(path_, *fs_);
    ASSERT_OK(bank);
    bank_ = *std::move(bank);
    ReadEncoding();
  }

  // The one that answers, which a migration that power stopped may or may not have changed.
  void ReadEncoding() {
    const auto snapshot = bank_->Latest();
    ASSERT_OK(snapshot);
    const auto encodings = (*snapshot)->Encodings();
    ASSERT_OK(encodings);
    if (encodings->empty()) return;
    encoding_ = encodings->back().info.id;
    fingerprint_ = encodings->back().info.fingerprint;
  }

  void Close() {
    writer_.reset();
    bank_.reset();
    core_.reset();
  }

  // The machine stops here and starts again. What was never synced is lost or not, file by file.
  // The bank may then be in the state `after`, if an operation that was stopped would have led
  // there.
  void LosePowerAndOpen(const Model* after = nullptr) {
    ++power_losses_;
    fs_->Stop();
    Close();
    fs_->LosePower([this](const std::string&) { return Random(2) == 0; });
    fail_at_ = stride_ > 0 || Random(3) == 0 ? kNever : Random(kMaxOperations);
    ASSERT_NO_FATAL_FAILURE(Open());
    const auto snapshot = bank_->Latest();
    ASSERT_OK(snapshot);
    if (after != nullptr && IsAt(**snapshot, *after)) model_ = *after;
    pending_ = model_.newest();
    pending_readmitted_.clear();
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(model_.revisions.size() - 1));
  }

  static bool IsAt(const Snapshot& snapshot, const Model& model) {
    return snapshot.revision().value == static_cast<int64_t>(model.revisions.size()) - 1;
  }

  // What power lost now would leave: with nothing that was not synced, with all of it, and with
  // some files of it.
  void ExpectSoundAfterPowerLoss() {
    SCOPED_TRACE("write or sync " + std::to_string(writes_and_syncs_ - 1));
    ++points_;
    // Looking draws numbers of its own.
    const std::mt19937 of_history =
        std::exchange(random_, std::mt19937(static_cast<unsigned>(writes_and_syncs_)));
    const std::string image = root_ + "-image";
    const ScopedVariable keyrings("MSA_KEYRINGS", image);
    fs_->CopyAfterPowerLoss(root_, image);
    ExpectSoundImage(image);
    fs_->CopyAfterPowerLoss(root_, image, [](const std::string&) { return true; });
    ExpectSoundImage(image);
    fs_->CopyAfterPowerLoss(root_, image, [&](const std::string&) { return Random(2) == 0; });
    ExpectSoundImage(image);
    random_ = of_history;
  }

  // Of an image, all that opening its bank reads: SQLite makes its shared memory anew.
  static std::map<std::string, Digest> DigestsOf(const std::string& image) {
    std::map<std::string, Digest> digests;
    const auto add = [&](const std::filesystem::directory_entry& entry) {
      const std::string path = entry.path().string();
      if (entry.is_regular_file() && !path.ends_with("-shm")) {
        digests[path] = Blake2b(AsBytes(ReadFile(path).value()));
      }
    };
    std::ranges::for_each(std::filesystem::directory_iterator(image), add);  // the keyring
    std::ranges::for_each(std::filesystem::recursive_directory_iterator(image + "/bank"), add);
    return digests;
  }

  // Unless it equals one that was looked at during the same operation.
  void ExpectSoundImage(const std::string& image) {
    if (std::exchange(looked_at_during_, operations_) != operations_) looked_at_.clear();
    if (!looked_at_.insert(DigestsOf(image)).second) return;
    ++images_;
    const auto bank = Bank::Open(image + "/bank");
    ASSERT_OK(bank);
    const auto snapshot = (*bank)->Latest();
    ASSERT_OK(snapshot);
    const bool is_done = in_flight_ != nullptr && IsAt(**snapshot, *in_flight_);
    const Model& model = is_done ? *in_flight_ : model_;
    ASSERT_EQ((*snapshot)->revision().value, static_cast<int64_t>(model.revisions.size()) - 1);
    ExpectEqual(**bank, model, model.revisions.size() - 1);
    ExpectEqual(**bank, model, Random(static_cast<unsigned>(model.revisions.size())));
    ASSERT_OK((*bank)->Audit());
    // The next writer goes on.
    auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->Add(ToNewDocument("after", {{"onlyafter"}, {}})));
    ASSERT_OK((*writer)->Commit("after"));
    Model grown = model;
    grown.revisions.push_back(model.newest());
    grown.revisions.back()["after"] = {{"onlyafter"}, {}};
    ExpectEqual(**bank, grown, grown.revisions.size() - 1);
    ASSERT_OK((*bank)->Audit());
  }

  // What the operation under way leads to, while it is.
  class InFlight {
   public:
    InFlight(History* history, const Model* after) : history_(history) {
      history_->in_flight_ = after;
    }
    ~InFlight() { history_->in_flight_ = nullptr; }

   private:
    History* history_;
  };

  // True if an operation did what it should; false if power went, and all was opened again. The
  // bank may then be in the state `after`.
  bool Did(const Status& status, const Model* after = nullptr) {
    ++operations_;
    if (status.ok()) return true;
    EXPECT_TRUE(fs_->failed()) << status;
    LosePowerAndOpen(after);
    return false;
  }

  bool HasWriter() {
    if (writer_ != nullptr) return true;
    WriterTuning tuning(kSmallSeal);
    tuning.automatic.least_bytes = 1000;
    auto writer = Writer::Start(core_, {.author = "", .readmit = Random(4) == 0}, tuning);
    if (!Did(writer.status())) return false;
    writer_ = *std::move(writer);
    const auto encoding = writer_->OpenEncoding({{}, fingerprint_, "{}", kLayout});
    if (!Did(encoding.status())) return false;
    encoding_ = *encoding;
    return true;
  }

  void Add() {
    if (!HasWriter()) return;
    const std::string key = RandomKey();
    AddDocument(key, RandomDocument(key));
  }

  Document RandomDocument(const std::string& key) {
    Document document;
    document.words.push_back("only" + key);
    for (unsigned i = 0; i < Random(4); ++i)
      document.words.push_back("w" + std::to_string(Random(9)));
    if (Random(3) == 0) document.labels["kind"] = std::to_string(Random(3));
    const auto known = pending_.find(key);
    if (known != pending_.end() && Random(4) == 0) document = known->second;
    return document;
  }

  // Nothing if power went.
  std::optional<AddOutcome> AddDocument(const std::string& key, Document document) {
    const auto known = pending_.find(key);
    const auto outcome = writer_->Add(ToNewDocument(key, document));
    if (!Did(outcome.status())) return std::nullopt;
    const bool erased = model_.erased.contains(key) && !pending_readmitted_.contains(key);
    if (*outcome == AddOutcome::kErased) {
      EXPECT_TRUE(erased) << key;
      return *outcome;
    }
    if (known == pending_.end()) {
      EXPECT_EQ(*outcome, AddOutcome::kAdded);
    } else if (known->second != document) {
      EXPECT_EQ(*outcome, AddOutcome::kReplaced);
    } else if (*outcome != AddOutcome::kUnchanged) {
      // The text of one that was superseded for a while comes back.
      EXPECT_TRUE(model_.droppable.contains(known->second.version)) << key;
    }
    if (erased) pending_readmitted_.insert(key);
    if (*outcome == AddOutcome::kUnchanged) return *outcome;
    document.version = ++versions_;
    pending_[key] = document;
    return *outcome;
  }

  // The bank follows a folder: most of its documents are there still, as they were or changed, and
  // others are new; the rest goes. One revision, of which a comparison tells beforehand.
  void Sync() {
    if (!HasWriter()) return;
    if (writer_->pending_documents() > 0) return Commit();
    std::set<std::string> folder;
    for (const auto& [key, document] : pending_) {
      if (Random(4) != 0) folder.insert(key);
    }
    for (unsigned i = 0; i < 3; ++i) folder.insert(RandomKey());
    for (const std::string& key : folder) {
      const Document document = RandomDocument(key);
      const NewDocument file = ToNewDocument(key, document);
      const auto compared = writer_->Compare(key, file.title, file.text, file.labels);
      if (!Did(compared.status())) return;
      const auto outcome = AddDocument(key, document);
      if (!outcome) return;
      EXPECT_EQ(*outcome, *compared) << key;
    }
    for (const auto& [key, document] : State(pending_)) {
      if (!folder.contains(key) && !RemoveDocument(key)) return;
    }
    Commit();
  }

  void Remove() {
    if (HasWriter()) RemoveDocument(RandomKey());
  }

  // False if power went.
  bool RemoveDocument(const std::string& key) {
    const auto removed = writer_->Remove(key);
    if (!Did(removed.status())) return false;
    EXPECT_EQ(*removed, pending_.erase(key) == 1) << key;
    return true;
  }

  void Commit() {
    if (!HasWriter()) return;
    Model after = model_;
    const bool changes = writer_->pending_documents() > 0;
    if (changes) after.revisions.push_back(pending_);
    for (const std::string& key : pending_readmitted_) after.erased.erase(key);
    after.NoteDroppable();
    const InFlight in_flight(this, &after);
    const auto revision = writer_->Commit("step");
    if (!Did(revision.status(), &after)) return;
    EXPECT_EQ(revision->value, static_cast<int64_t>(after.revisions.size()) - 1);
    Acknowledge(after);
  }

  void Acknowledge(const Model& after) {
    model_ = after;
    pending_ = model_.newest();
    pending_readmitted_.clear();
    ExpectEqual(model_.revisions.size() - 1);
    ExpectEqual(Random(static_cast<unsigned>(model_.revisions.size())));
  }

  void Revert() {
    if (model_.revisions.size() < 2 || !HasWriter()) return;
    if (writer_->pending_documents() > 0) return Commit();
    const size_t target = 1 + Random(static_cast<unsigned>(model_.revisions.size() - 1));
    Model after = model_;
    after.revisions.push_back(model_.revisions[target]);
    after.NoteDroppable();
    const InFlight in_flight(this, &after);
    const auto revision = writer_->Revert(RevisionId{static_cast<int64_t>(target)}, "back");
    if (!Did(revision.status(), &after)) return;
    Acknowledge(after);
  }

  void Erase() {
    if (!HasWriter()) return;
    if (writer_->pending_documents() > 0) return Commit();
    std::set<std::string> ever;
    for (const State& state : model_.revisions) {
      for (const auto& [key, document] : state) ever.insert(key);
    }
    if (ever.empty()) return;
    if (!Did(writer_->CommitLatents())) return;
    const std::string key = *std::next(ever.begin(), Random(static_cast<unsigned>(ever.size())));
    Model after = model_;
    after.Erase({key});
    after.NoteDroppable();
    const InFlight in_flight(this, &after);
    const auto report = writer_->Erase({.documents = {key}, .where = {}}, "erase");
    if (!Did(report.status(), &after)) return;
    EXPECT_GE(report->numbers.size(), 1u);  // with those that still wait
    Acknowledge(after);
    // The reading bank may hold a snapshot of before; half of the time a later writer comes upon
    // that.
    if (report->waits_for.empty() || Random(2) == 0 || !Did(bank_->Latest().status())) return;
    const auto done = writer_->Erase({}, "erase");
    if (!Did(done.status())) return;
    EXPECT_THAT(done->waits_for, testing::IsEmpty());
  }

  // Gives latents to passages that lack them, to all or some; false if power went.
  bool EncodeMissing(EncodingId encoding, bool all) {
    const auto snapshot = bank_->Latest();
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    const auto missing = (*snapshot)->FindUnencoded(encoding);
    EXPECT_TRUE(missing.ok()) << missing.status();
    for (const auto& m : *missing) {
      if (!all && Random(3) == 0) continue;
      const auto content = (*snapshot)->ReadContent(m.version);
      EXPECT_TRUE(content.ok()) << content.status();
      for (int64_t p = m.first_passage; p < m.first_passage + (all ? m.num_passages : 1); ++p) {
        const int32_t token = content->tokens[static_cast<size_t>(p)].front();
        if (!Did(writer_->AddLatents(encoding, m.version, p, LatentsOf(token)))) return false;
      }
    }
    return Did(writer_->CommitLatents());
  }

  void Encode() {
    if (!HasWriter()) return;
    if (writer_->pending_documents() > 0) return Commit();
    if (!EncodeMissing(encoding_, false)) return;
    ExpectEqual(model_.revisions.size() - 1);
  }

  void Migrate() {
    if (!HasWriter()) return;
    if (writer_->pending_documents() > 0) return Commit();
    if (!Did(writer_->CommitLatents())) return;
    const std::string target = "feed" + std::to_string(Random(3));
    const auto pending = writer_->BeginMigration({{}, target, "{}", kLayout});
    if (!Did(pending.status())) return;
    ReadEncoding();
    EXPECT_EQ(*pending == encoding_, target == fingerprint_);
    if (!EncodeMissing(*pending, true)) return;
    if (Random(3) == 0) return;  // goes on another time, or not at all
    if (!Did(writer_->FinishMigration())) return;
    ReadEncoding();
    EXPECT_EQ(fingerprint_, target);
    ExpectEqual(model_.revisions.size() - 1);
  }

  void Compact() {
    if (!HasWriter()) return;
    if (writer_->pending_documents() > 0) return Commit();
    if (!Did(writer_->CommitLatents())) return;
    const bool keeps_text = Random(3) != 0;
    const bool keeps_latents = Random(2) != 0;
    // Power may go before or after the bank knows.
    const bool kept_text = model_.keeps_text;
    model_.keeps_text = kept_text && keeps_text;
    model_.NoteDroppable();
    const auto report = writer_->Compact(Retention{
        .text_days = keeps_text ? Retention::kForever : 0, .latents_days = keeps_latents ? 30 : 0});
    // An erasure that waits for a reader, which then is this test's.
    if (report.status().code() == StatusCode::kFailedPrecondition) {
      model_.keeps_text = kept_text;
      return;
    }
    if (!Did(report.status())) return;
    EXPECT_THAT(report->damaged, testing::IsEmpty());
    model_.keeps_text = keeps_text;
    dropped_ += report->dropped_texts + report->dropped_latents;
    for (size_t r = 0; r < model_.revisions.size(); ++r) {
      ExpectEqual(r);
      if (!keeps_text) ExpectNoOldText(r);
    }
  }

  // What is not in the newest revision has lost its text.
  void ExpectNoOldText(size_t revision) {
    const auto snapshot = bank_->At(RevisionId{static_cast<int64_t>(revision)});
    ASSERT_OK(snapshot);
    ASSERT_OK((*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
      const Document& document = model_.revisions[revision].at(info.key);
      EXPECT_TRUE(!info.text_kept || model_.IsNewest(info.key, document)) << info.key;
      return true;
    }));
  }

  // While the writer, if there is one, has what it likes in the making.
  void Backup() {
    backed_up_.reset();
    const auto report = BackupBank(path_, backup_path(), {}, *fs_);
    if (!Did(report.status())) return;
    EXPECT_EQ(report->revision.value, static_cast<int64_t>(model_.revisions.size()) - 1);
    backed_up_ = model_;
    const auto backup = Bank::Open(backup_path());
    ASSERT_OK(backup);
    ASSERT_OK((*backup)->Audit());
    ExpectEqual(**backup, model_, model_.revisions.size() - 1);
    ExpectEqual(**backup, model_, Random(static_cast<unsigned>(model_.revisions.size())));
  }

  // What the backup held comes back without what was erased since.
  void Restore() {
    // Copies share a keyring, and only one of them may be written to.
    if (!backed_up_ || encrypt_) return;
    const std::string restored = root_ + "/restored";
    RestoreOptions options;
    options.current = {path_};
    const auto report = RestoreBank(backup_path(), restored, options, *fs_);
    Model expected = *backed_up_;
    const auto known = static_cast<ptrdiff_t>(expected.erasures.size());
    const std::set<std::string> erased(model_.erasures.begin() + known, model_.erasures.end());
    if (report.ok()) {
      const auto bank = Bank::Open(restored);
      ASSERT_OK(bank);
      // A revision more, if it holds any of that.
      const bool holds_any = std::ranges::any_of(expected.revisions, [&](const State& state) {
        return std::ranges::any_of(state, [&](const auto& d) { return erased.contains(d.first); });
      });
      if (report->revision.value == static_cast<int64_t>(expected.revisions.size())) {
        expected.Erase(erased);
      } else {
        EXPECT_FALSE(holds_any);
      }
      expected.NoteDroppable();
      for (size_t r = 0; r < expected.revisions.size(); ++r) ExpectEqual(**bank, expected, r);
      ASSERT_OK((*bank)->Audit());
    }
    Did(report.status());
    std::filesystem::remove_all(restored);
  }

  std::string backup_path() const { return root_ + "/backup"; }

  void GiveUp() {
    writer_.reset();
    pending_ = model_.newest();
    pending_readmitted_.clear();
  }

  void ExpectEqual(size_t revision) { ExpectEqual(*bank_, model_, revision); }

  void ExpectEqual(Bank& bank, const Model& model, size_t revision) {
    SCOPED_TRACE("revision " + std::to_string(revision));
    const State& expected = model.revisions[revision];
    const auto snapshot = bank.At(RevisionId{static_cast<int64_t>(revision)});
    ASSERT_OK(snapshot);
    const auto encodings = (*snapshot)->Encodings();
    ASSERT_OK(encodings);
    State found;
    std::set<std::string> without_text;
    ASSERT_OK((*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
      if (!info.text_kept && expected.contains(info.key)) {
        const Document& document = expected.at(info.key);
        EXPECT_TRUE(model.droppable.contains(document.version)) << info.key;
        EXPECT_EQ((*snapshot)->ReadContent(info.version).status().code(),
                  StatusCode::kFailedPrecondition);
        without_text.insert(info.key);
        found[info.key] = {document.words, info.labels};
        return true;
      }
      const auto content = (*snapshot)->ReadContent(info.version);
      EXPECT_TRUE(content.ok()) << content.status();
      if (!content.ok()) return false;
      Document& document = found[info.key];
      document.labels = info.labels;
      for (const PassageInfo& passage : content->passages) {
        document.words.push_back(
            content->text.substr(static_cast<size_t>(passage.begin),
                                 static_cast<size_t>(passage.end - passage.begin - 1)));
        for (const EncodingStats& encoding : *encodings) {
          ExpectLatents(**snapshot, encoding.info.id, passage.id, TokenOf(document.words.back()));
        }
      }
      return true;
    }));
    ASSERT_EQ(found, expected);
    ASSERT_EQ((*snapshot)->Stats()->documents, static_cast<int64_t>(expected.size()));
    const std::string key = RandomKey();
    const auto hits = (*snapshot)->SearchLexical("only" + key, 5, {});
    ASSERT_OK(hits);
    const bool is_found = expected.contains(key) && !without_text.contains(key);
    ASSERT_EQ(hits->size(), is_found ? 1u : 0u) << key;
  }

  // The log works out changes from what happened in each revision, a diff from what both see.
  void ExpectLogEqualsDiffs() {
    std::vector<RevisionInfo> revisions;
    ASSERT_OK(bank_->Log([&](const RevisionInfo& r) { return revisions.push_back(r), true; }));
    ASSERT_EQ(revisions.size(), model_.revisions.size() - 1);
    for (RevisionInfo& revision : revisions) {
      SCOPED_TRACE("log of revision " + std::to_string(revision.id.value));
      std::erase_if(revision.changes,
                    [](const auto& change) { return change.change == ChangeKind::kErased; });
      const auto diff = bank_->Diff(RevisionId{revision.id.value - 1}, revision.id);
      ASSERT_OK(diff);
      EXPECT_EQ(revision.changes, *diff);
    }
  }

  void ExpectLatents(const Snapshot& snapshot, EncodingId encoding, PassageId passage,
                     int32_t token) {
    const auto block = snapshot.ReadLatents(encoding, passage);
    if (block.status().code() == StatusCode::kNotFound) return;
    ASSERT_OK(block);
    EXPECT_EQ(block->latents, LatentsOf(token).latents);
  }

  std::mt19937 random_;
  const std::string root_;
  const std::string path_;
  const ScopedVariable keyrings_;
  int64_t stride_ = 0;  // 0: power is lost
  int64_t offset_ = 0;
  bool encrypt_ = false;
  int64_t fail_at_ = kNever;
  std::unique_ptr<FaultFileSystem> fs_;
  std::shared_ptr<BankCore> core_;  // what the writer writes through
  std::unique_ptr<Bank> bank_;      // what reads
  std::unique_ptr<BankWriter> writer_;
  EncodingId encoding_;
  std::string fingerprint_ = "feed0";
  Model model_;
  std::optional<Model> backed_up_;  // when; nothing if power went meanwhile
  const Model* in_flight_ = nullptr;
  State pending_;  // of the revision in the making
  int64_t versions_ = 0;
  std::set<std::string> pending_readmitted_;
  int64_t operations_ = 0;
  int64_t power_losses_ = 0;
  int64_t writes_and_syncs_ = 0;
  int64_t points_ = 0;  // of them, looked at
  int64_t images_ = 0;  // then, no two of one operation equal
  std::set<std::map<std::string, Digest>> looked_at_;
  int64_t looked_at_during_ = 0;  // operation
  int64_t dropped_ = 0;           // by compactions that were asked for
};

// A number that the environment may give.
int64_t Setting(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoll(value);
}

void RunHistories(bool encrypt) {
  const auto histories = static_cast<unsigned>(Setting("MSA_MODEL_SEEDS", 6));
  const auto first = static_cast<unsigned>(Setting("MSA_MODEL_FIRST_SEED", 1));
  int64_t operations = 0;
  int64_t losses = 0;
  int64_t dropped = 0;
  for (unsigned seed = first; seed < first + histories; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TemporaryFolder folder;
    const KeysIn keys(folder);
    History history(seed, folder / "history");
    if (encrypt) history.Encrypt();
    ASSERT_NO_FATAL_FAILURE(history.Run());
    ASSERT_FALSE(testing::Test::HasFailure());
    operations += history.operations();
    losses += history.power_losses();
    dropped += history.dropped();
  }
  std::printf("%u histories, %lld operations, %lld losses of power, %lld dropped\n", histories,
              static_cast<long long>(operations), static_cast<long long>(losses),
              static_cast<long long>(dropped));
  EXPECT_GT(dropped, 0);
}

TEST(BankHistory, RandomOperationsWithPowerLossesEqualAModel) { RunHistories(false); }

TEST(BankHistory, OfAnEncryptedBankEqualsAModel) { RunHistories(true); }

void LosePowerAtEveryWrite(bool encrypt) {
  const int64_t stride = Setting("MSA_MODEL_STRIDE", 150);
  const int64_t offset = Setting("MSA_MODEL_OFFSET", 0);
  constexpr unsigned kSeed = 7;
  TemporaryFolder folder;
  const KeysIn keys(folder);
  History history(kSeed, folder / "history", stride, offset);
  if (encrypt) history.Encrypt();
  ASSERT_NO_FATAL_FAILURE(history.Run());
  std::printf("%lld operations, %lld writes and syncs, power lost at %lld, %lld images of that\n",
              static_cast<long long>(history.operations()),
              static_cast<long long>(history.writes_and_syncs()),
              static_cast<long long>(history.points()), static_cast<long long>(history.images()));
  EXPECT_GT(history.points() * stride, 3000) << "it no longer writes what it should";
}

TEST(BankHistory, PowerLostAtEveryWriteAndSyncLeavesWhatWasCommitted) {
  LosePowerAtEveryWrite(false);
}

TEST(BankHistory, PowerLostAtEveryWriteAndSyncLeavesAnEncryptedBank) {
  LosePowerAtEveryWrite(true);
}

}  // namespace
}  // namespace msa
