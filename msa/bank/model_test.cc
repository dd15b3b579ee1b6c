// Random operations on a bank and on a std::map, compared after each commit and reopening.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <random>

#include "msa/bank/bank_test_util.h"

namespace msa {
namespace {

struct ModelDocument {
  std::string text;
  std::string title;
  std::map<std::string, std::string> labels;
  int64_t passages;
  friend bool operator==(const ModelDocument&, const ModelDocument&) = default;
};

// What a revision sees: by key. Order of addition is not modelled.
using Model = std::map<std::string, ModelDocument>;

class RandomOperations {
 public:
  RandomOperations(unsigned seed, const std::string& path) : random_(seed), path_(path) {}

  void Run(int steps) {
    ASSERT_OK(Bank::Create(path_, {}));
    ASSERT_NO_FATAL_FAILURE(Reopen());
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      const unsigned choice = random_() % 100;
      if (choice < 70) {
        ASSERT_NO_FATAL_FAILURE(Add());
      } else if (choice < 85) {
        ASSERT_NO_FATAL_FAILURE(Commit());
      } else if (choice < 90) {
        DropWriter();
      } else if (choice < 95) {
        ASSERT_NO_FATAL_FAILURE(Reopen());
      } else {
        ASSERT_NO_FATAL_FAILURE(KeepSnapshot());
      }
    }
    ASSERT_NO_FATAL_FAILURE(Commit());
    for (const auto& [snapshot, model] : kept_) {
      ASSERT_NO_FATAL_FAILURE(ExpectEqual(*snapshot, model));
    }
  }

 private:
  void Reopen() {
    DropWriter();
    kept_.clear();  // snapshots keep the old bank alive, which is fine, but they would pile up
    bank_.reset();
    auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    bank_ = *std::move(bank);
    ASSERT_NO_FATAL_FAILURE(ExpectLatest());
  }

  void DropWriter() {
    writer_.reset();
    pending_ = committed_;
  }

  void Add() {
    if (writer_ == nullptr) {
      auto writer = bank_->StartWrite();
      ASSERT_OK(writer);
      writer_ = *std::move(writer);
    }
    // Few keys and texts, so that replacing and repeating are common.
    const std::string key = std::string("key") + std::to_string(random_() % 25);
    ModelDocument document;
    for (unsigned i = 0; i < random_() % 6; ++i) document.text += Word() + " ";
    document.title = Word();
    if (random_() % 3 == 0) document.labels["kind"] = std::to_string(random_() % 3);
    document.passages = document.text.empty() ? 0 : 1 + static_cast<int64_t>(random_() % 3);
    const auto known = pending_.find(key);
    if (known != pending_.end() && random_() % 4 == 0) document = known->second;

    NewDocument added = MakeDocument(key, document.title, document.text, document.passages);
    added.labels = document.labels;
    const auto outcome = writer_->Add(std::move(added));
    ASSERT_OK(outcome);
    AddOutcome expected = AddOutcome::kAdded;
    if (known != pending_.end()) {
      const ModelDocument& old = known->second;
      const bool same =
          old.text == document.text && old.title == document.title && old.labels == document.labels;
      expected = same ? AddOutcome::kUnchanged : AddOutcome::kReplaced;
    }
    ASSERT_EQ(*outcome, expected) << key;
    if (expected != AddOutcome::kUnchanged) pending_[key] = document;
  }

  void Commit() {
    if (writer_ == nullptr) return;
    ASSERT_OK(writer_->Commit("step"));
    committed_ = pending_;
    ASSERT_NO_FATAL_FAILURE(ExpectLatest());
  }

  void KeepSnapshot() {
    const auto snapshot = bank_->Latest();
    ASSERT_OK(snapshot);
    if (kept_.size() == 4) kept_.erase(kept_.begin());
    kept_.emplace_back(*snapshot, committed_);
  }

  void ExpectLatest() {
    const auto snapshot = bank_->Latest();
    ASSERT_OK(snapshot);
    ExpectEqual(**snapshot, committed_);
    for (const auto& [old, model] : kept_) ASSERT_NO_FATAL_FAILURE(ExpectEqual(*old, model));
  }

  void ExpectEqual(const Snapshot& snapshot, const Model& model) {
    Model found;
    int64_t passages = 0;
    ASSERT_OK(snapshot.ForEachDocument({}, [&](const DocumentInfo& info) {
      EXPECT_FALSE(found.contains(info.key)) << info.key << " twice";
      const auto content = snapshot.ReadContent(info.version);
      EXPECT_TRUE(content.ok()) << content.status();
      if (!content.ok()) return false;
      found[info.key] = {content->text, info.title, info.labels, info.num_passages};
      passages += info.num_passages;
      return true;
    }));
    // An unchanged text keeps its passages, however the repetition was cut.
    for (auto& [key, document] : found) {
      if (model.contains(key)) document.passages = model.at(key).passages;
    }
    ASSERT_EQ(found.size(), model.size());
    ASSERT_TRUE(found == model);
    const auto stats = snapshot.Stats();
    ASSERT_OK(stats);
    EXPECT_EQ(stats->documents, static_cast<int64_t>(model.size()));
    EXPECT_EQ(stats->passages, passages);
    ExpectSearchEqual(snapshot, model);
  }

  void ExpectSearchEqual(const Snapshot& snapshot, const Model& model) {
    const std::string word = Word();
    for (const LabelFilter& filter : {LabelFilter{}, LabelFilter{{"kind", "1"}}}) {
      std::set<std::string> expected;
      for (const auto& [key, document] : model) {
        const bool in_filter = filter.empty() || (document.labels.contains("kind") &&
                                                  document.labels.at("kind") == "1");
        const std::string all = document.title + " " + document.text + " ";
        if (in_filter && document.passages > 0 &&
            (document.title == word || (" " + all).find(" " + word + " ") != std::string::npos)) {
          expected.insert(key);
        }
      }
      const auto hits = snapshot.SearchLexical(word, 1000, filter);
      ASSERT_OK(hits);
      std::set<std::string> found;
      for (const LexicalHit& hit : *hits) {
        const auto address = snapshot.FindPassage(hit.passage);
        ASSERT_OK(address);
        found.insert(snapshot.GetDocument(address->version)->key);
      }
      // Passages are cut at any byte, so a word may be split: what is found must be right, and all
      // documents of one passage, and those with the word as title, must be found.
      for (const std::string& key : found) EXPECT_TRUE(expected.contains(key)) << word << key;
      for (const std::string& key : expected) {
        const ModelDocument& document = model.at(key);
        if (document.passages == 1 || document.title == word) {
          EXPECT_TRUE(found.contains(key)) << word << " in " << key;
        }
      }
    }
  }

  std::string Word() { return std::string("q") + std::to_string(random_() % 12) + "q"; }

  std::mt19937 random_;
  const std::string path_;
  std::unique_ptr<Bank> bank_;
  std::unique_ptr<BankWriter> writer_;
  Model committed_;
  Model pending_;
  std::vector<std::pair<std::shared_ptr<const Snapshot>, Model>> kept_;
};

TEST(BankModel, RandomOperationsEqualAMap) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TemporaryFolder folder;
    RandomOperations operations(seed, folder / "bank");
    ASSERT_NO_FATAL_FAILURE(operations.Run(250));
  }
}

}  // namespace
}  // namespace msa
