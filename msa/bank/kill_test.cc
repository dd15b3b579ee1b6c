// A writer that is killed at any moment while it adds, replaces, removes, goes back, erases,
// encodes, migrates and compacts, as often as MSA_KILLS says (12), with readers in other processes
// all the while, on a plain bank and on an encrypted one: nothing that was acknowledged is lost,
// every revision equals a model, and no reader sees half a commit.
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "msa/bank/bank_test_util.h"
#include "msa/bank/core.h"
#include "msa/bank/writer.h"

namespace msa {
namespace {

constexpr int64_t kSmallSeal = 1500;
constexpr char kManifest[] = "manifest";
const LatentLayout kLayout{.key_dim = 16, .layers = 1, .kv_heads = 1, .head_dim = 4};

// By key: the number that its text follows from. Keys that begin with "e" are erased at times, the
// others never.
using State = std::map<std::string, int>;

// The states of all revisions, by number.
struct Model {
  std::vector<State> revisions = {{}};
  const State& newest() const { return revisions.back(); }
};

std::string OwnWord(const std::string& key, int number) {
  return key + "n" + std::to_string(number) + "x";
}

std::string TextOf(const std::string& key, int number) {
  std::string text = key + " " + std::to_string(number) + " " + OwnWord(key, number) + " ";
  for (int i = 0; i < 20 + number % 40; ++i) text += "word" + std::to_string(i * number) + " ";
  return text;
}

// A document of each revision that says what the revision holds, so that a reader who knows nothing
// else can tell whether it is whole.
std::string ManifestOf(const State& state) {
  std::string text = "holds ";
  for (const auto& [key, number] : state) {
    if (key.front() != 'e') text += key + "=" + std::to_string(number) + " ";
  }
  return text;
}

LatentBlock LatentsOf(const std::vector<int32_t>& tokens) {
  int64_t seed = 0;
  for (const int32_t token : tokens) seed = (seed * 31 + token) % 97;
  return MakeLatents(kLayout, {1}, seed);
}

enum class OperationKind : int32_t { kBatch, kRevert, kErase, kEncode, kMigrate, kCompact };

// What it does follows from the state before it and the seed.
struct Operation {
  OperationKind kind;
  uint32_t seed;
};

Operation RandomOperation(std::mt19937& random) {
  const auto choice = random() % 20;
  const auto kind = choice < 12   ? OperationKind::kBatch
                    : choice < 14 ? OperationKind::kRevert
                    : choice < 16 ? OperationKind::kErase
                    : choice < 18 ? OperationKind::kEncode
                    : choice < 19 ? OperationKind::kMigrate
                                  : OperationKind::kCompact;
  return {kind, static_cast<uint32_t>(random())};
}

// One to five documents that come, change or go together; nullopt: it goes.
std::map<std::string, std::optional<int>> BatchOf(const State& before, uint32_t seed) {
  std::mt19937 random(seed);
  std::map<std::string, std::optional<int>> batch;
  for (auto left = 1 + random() % 5; left > 0; --left) {
    const std::string key = (random() % 3 == 0 ? "e" : "k") + std::to_string(random() % 8);
    const bool goes = before.contains(key) && random() % 4 == 0;
    batch[key] = goes ? std::nullopt : std::optional(static_cast<int>(random() % 1000));
  }
  return batch;
}

std::optional<size_t> RevisionToGoBackTo(const Model& model, uint32_t seed) {
  if (model.revisions.size() < 2) return std::nullopt;
  return 1 + seed % (model.revisions.size() - 1);
}

std::optional<std::string> KeyToErase(const Model& model, uint32_t seed) {
  std::set<std::string> keys;
  for (const State& state : model.revisions) {
    for (const auto& [key, number] : state) {
      if (key.front() == 'e') keys.insert(key);
    }
  }
  if (keys.empty()) return std::nullopt;
  return *std::next(keys.begin(), static_cast<ptrdiff_t>(seed % keys.size()));
}

void Apply(const Operation& operation, Model* model) {
  if (operation.kind == OperationKind::kBatch) {
    State after = model->newest();
    for (const auto& [key, number] : BatchOf(model->newest(), operation.seed)) {
      after.erase(key);
      if (number) after[key] = *number;
    }
    if (after != model->newest()) model->revisions.push_back(after);
  } else if (operation.kind == OperationKind::kRevert) {
    const auto revision = RevisionToGoBackTo(*model, operation.seed);
    if (revision) model->revisions.push_back(State(model->revisions[*revision]));
  } else if (operation.kind == OperationKind::kErase) {
    const auto key = KeyToErase(*model, operation.seed);
    if (!key) return;
    for (State& state : model->revisions) state.erase(*key);
    model->revisions.push_back(State(model->newest()));
  }
}

Status PerformBatch(BankWriter& writer, const Model& model, uint32_t seed) {
  State after = model.newest();
  for (const auto& [key, number] : BatchOf(model.newest(), seed)) {
    after.erase(key);
    if (number) {
      after[key] = *number;
      MSA_RETURN_IF_ERROR(writer.Add(MakeDocument(key, "title", TextOf(key, *number), 2)).status());
    } else {
      MSA_RETURN_IF_ERROR(writer.Remove(key).status());
    }
  }
  MSA_RETURN_IF_ERROR(
      writer.Add(MakeDocument(kManifest, "manifest", ManifestOf(after), 1)).status());
  return writer.Commit("batch").status();
}

// Gives latents of the encoding that answers, or that a migration is making, to all passages.
Status AddMissingLatents(Bank& bank, BankWriter& writer, EncodingId encoding) {
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank.Latest());
  MSA_ASSIGN_OR_RETURN(const auto missing, snapshot->FindUnencoded(encoding));
  for (const Snapshot::Unencoded& run : missing) {
    MSA_ASSIGN_OR_RETURN(const DocumentContent content, snapshot->ReadContent(run.version));
    for (int64_t p = run.first_passage; p < run.first_passage + run.num_passages; ++p) {
      MSA_RETURN_IF_ERROR(writer.AddLatents(encoding, run.version, p,
                                            LatentsOf(content.tokens[static_cast<size_t>(p)])));
    }
  }
  return writer.CommitLatents();
}

Status PerformEncode(Bank& bank, BankWriter& writer) {
  MSA_ASSIGN_OR_RETURN(const auto snapshot, bank.Latest());
  MSA_ASSIGN_OR_RETURN(const auto encodings, snapshot->Encodings());
  return AddMissingLatents(bank, writer, encodings.back().info.id);
}

Status PerformMigrate(Bank& bank, BankWriter& writer, uint32_t seed) {
  const std::string fingerprint = "feed" + std::to_string(seed % 3);
  MSA_ASSIGN_OR_RETURN(const EncodingId encoding,
                       writer.BeginMigration({{}, fingerprint, "{}", kLayout}));
  MSA_RETURN_IF_ERROR(AddMissingLatents(bank, writer, encoding));
  return writer.FinishMigration();
}

Status PerformCompact(BankWriter& writer) {
  const Status status = writer.Compact(std::nullopt).status();
  // An erasure waits for a reader.
  return status.code() == StatusCode::kFailedPrecondition ? OkStatus() : status;
}

Status Perform(Bank& bank, BankWriter& writer, const Model& model, const Operation& operation) {
  switch (operation.kind) {
    case OperationKind::kBatch: return PerformBatch(writer, model, operation.seed);
    case OperationKind::kEncode: return PerformEncode(bank, writer);
    case OperationKind::kMigrate: return PerformMigrate(bank, writer, operation.seed);
    case OperationKind::kCompact: return PerformCompact(writer);
    case OperationKind::kRevert: {
      const auto revision = RevisionToGoBackTo(model, operation.seed);
      if (!revision) return OkStatus();
      return writer.Revert(RevisionId{static_cast<int64_t>(*revision)}, "back").status();
    }
    case OperationKind::kErase: {
      const auto key = KeyToErase(model, operation.seed);
      if (!key) return OkStatus();
      return writer.Erase({.documents = {*key}, .where = {}}, "erase").status();
    }
  }
  MSA_CHECK(false);
}

// What the writer tells before and after each operation.
struct Message {
  Operation operation;
  int32_t is_done;
};

Status WriteForever(const std::string& path, Model model, unsigned seed, int pipe) {
  std::mt19937 random(seed);
  MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path));
  MSA_ASSIGN_OR_RETURN(auto core, OpenCore(path, PosixFileSystem()));
  MSA_ASSIGN_OR_RETURN(const auto writer,
                       Writer::Start(std::move(core), {.author = "", .readmit = true}, kSmallSeal));
  while (true) {
    const Operation operation = RandomOperation(random);
    for (const int32_t is_done : {0, 1}) {
      if (is_done == 1) {
        MSA_RETURN_IF_ERROR(Perform(*bank, *writer, model, operation));
        Apply(operation, &model);
      }
      const Message message{operation, is_done};
      if (::write(pipe, &message, sizeof(message)) != sizeof(message)) return Internal("pipe");
    }
  }
}

// What a snapshot holds, if it is whole.
Result<State> ReadState(const Snapshot& snapshot) {
  State state;
  std::string manifest;
  std::vector<DocumentInfo> infos;
  MSA_RETURN_IF_ERROR(snapshot.ForEachDocument({}, [&](const DocumentInfo& info) {
    infos.push_back(info);
    return true;
  }));
  for (const DocumentInfo& info : infos) {
    MSA_ASSIGN_OR_RETURN(const DocumentContent content, snapshot.ReadContent(info.version));
    if (info.key == kManifest) {
      manifest = content.text;
      continue;
    }
    std::istringstream words(content.text);
    std::string key;
    int number = -1;
    words >> key >> number;
    if (content.text != TextOf(info.key, number)) return Internal(info.key + ": " + content.text);
    state[info.key] = number;
    MSA_ASSIGN_OR_RETURN(const auto hits, snapshot.SearchLexical(OwnWord(key, number), 3, {}));
    if (hits.size() != 1) return DataLoss(std::to_string(hits.size()) + " hits of " + info.key);
  }
  if (!infos.empty() && manifest != ManifestOf(state)) {
    return Internal("there is " + ManifestOf(state) + "but the manifest says: " + manifest);
  }
  MSA_ASSIGN_OR_RETURN(const BankStats stats, snapshot.Stats());
  if (stats.documents != static_cast<int64_t>(infos.size())) return Internal("wrong count");
  return state;
}

// One look at the newest or an older revision. kUnavailable: something was erased meanwhile.
Status ReadOnce(Bank& bank, std::mt19937& random) {
  MSA_ASSIGN_OR_RETURN(auto snapshot, bank.Latest());
  if (random() % 3 == 0 && snapshot->revision().value > 0) {
    const auto revisions = static_cast<uint64_t>(snapshot->revision().value);
    MSA_ASSIGN_OR_RETURN(snapshot,
                         bank.At(RevisionId{static_cast<int64_t>(1 + random() % revisions)}));
  }
  const auto first = ReadState(*snapshot);
  MSA_RETURN_IF_ERROR(snapshot->CheckErasures());
  MSA_RETURN_IF_ERROR(first.status());
  std::this_thread::sleep_for(std::chrono::milliseconds(random() % 10));
  const auto second = ReadState(*snapshot);
  MSA_RETURN_IF_ERROR(snapshot->CheckErasures());
  MSA_RETURN_IF_ERROR(second.status());
  return *first == *second ? OkStatus() : Internal("a snapshot changed");
}

Status ReadUntil(const std::string& stop, const std::string& path, unsigned seed) {
  std::mt19937 random(seed);
  while (!std::filesystem::exists(stop)) {
    MSA_ASSIGN_OR_RETURN(const auto bank, Bank::Open(path));
    for (int i = 0; i < 20; ++i) {
      const Status status = ReadOnce(*bank, random);
      if (!status.ok() && status.code() != StatusCode::kUnavailable) return status;
    }
  }
  return OkStatus();
}

// Runs `f` in another process, which ends with 0 if it returns OK and says why it does not.
template <class F>
pid_t Fork(F f) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const Status status = f();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  ::_exit(status.ok() ? 0 : 1);
}

// With a cipher or without.
class KillTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ASSERT_OK(Bank::Create(path_, {.encrypt = GetParam()}));
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    const auto writer = (*bank)->StartWrite();
    ASSERT_OK(writer);
    ASSERT_OK((*writer)->OpenEncoding({{}, "feed0", "{}", kLayout}));
  }

  // Lets a writer work for a moment and kills it; `model` gets what it acknowledged and what the
  // bank shows of the operation it was killed in.
  void KillWriter(std::mt19937& random) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const auto seed = static_cast<unsigned>(random());
    const pid_t child = Fork([&] { return WriteForever(path_, model_, seed, pipe[1]); });
    ::close(pipe[1]);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 200000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed";
    std::optional<Operation> under_way;
    for (Message message{}; ::read(pipe[0], &message, sizeof(message)) == sizeof(message);) {
      under_way = message.operation;
      if (message.is_done == 0) continue;
      Apply(message.operation, &model_);
      under_way.reset();
      ++acknowledged_;
    }
    ::close(pipe[0]);
    ASSERT_NO_FATAL_FAILURE(TakeUnacknowledged(under_way));
  }

  void TakeUnacknowledged(const std::optional<Operation>& operation) {
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    const auto snapshot = (*bank)->Latest();
    ASSERT_OK(snapshot);
    const auto revision = static_cast<size_t>((*snapshot)->revision().value);
    Model after = model_;
    if (operation) Apply(*operation, &after);
    if (revision == after.revisions.size() - 1) model_ = after;
    ASSERT_EQ(revision, model_.revisions.size() - 1);
  }

  void ExpectEqual(Bank& bank, size_t revision) {
    SCOPED_TRACE("revision " + std::to_string(revision));
    const auto snapshot = bank.At(RevisionId{static_cast<int64_t>(revision)});
    ASSERT_OK(snapshot);
    const auto state = ReadState(**snapshot);
    ASSERT_OK(state);
    ASSERT_EQ(*state, model_.revisions[revision]);
    const auto encodings = (*snapshot)->Encodings();
    ASSERT_OK(encodings);
    if (encodings->empty()) return;
    ASSERT_OK((*snapshot)->ForEachDocument({}, [&](const DocumentInfo& info) {
      const auto content = (*snapshot)->ReadContent(info.version);
      EXPECT_TRUE(content.ok()) << content.status();
      for (size_t p = 0; content.ok() && p < content->passages.size(); ++p) {
        const auto block =
            (*snapshot)->ReadLatents(encodings->back().info.id, content->passages[p].id);
        if (block.status().code() == StatusCode::kNotFound) continue;
        EXPECT_TRUE(block.ok()) << block.status();
        if (block.ok()) {
          EXPECT_EQ(block->latents, LatentsOf(content->tokens[p]).latents);
        }
      }
      return true;
    }));
  }

  TemporaryFolder folder_;
  const KeysIn keys_{folder_};
  const std::string path_ = folder_ / "bank";
  Model model_;
  int64_t acknowledged_ = 0;
};

TEST_P(KillTest, LosesNothingAndReadersSeeWholeCommits) {
  const char* kills = std::getenv("MSA_KILLS");
  const int rounds = kills == nullptr ? 12 : std::atoi(kills);
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string stop = folder_ / "stop";
  std::vector<pid_t> readers;
  for (unsigned i = 0; i < 2; ++i) {
    readers.push_back(Fork([&] { return ReadUntil(stop, path_, seed + i); }));
  }
  for (int round = 0; round < rounds && !HasFatalFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    ASSERT_NO_FATAL_FAILURE(KillWriter(random));
    const auto bank = Bank::Open(path_);
    ASSERT_OK(bank);
    ExpectEqual(**bank, model_.revisions.size() - 1);
    ExpectEqual(**bank, random() % model_.revisions.size());
    ASSERT_OK((*bank)->Audit());
  }
  std::ofstream(stop).put('\n');
  for (const pid_t reader : readers) {
    int status = 0;
    ASSERT_EQ(::waitpid(reader, &status, 0), reader);
    EXPECT_EQ(status, 0) << "a reader failed";
  }
  const auto bank = Bank::Open(path_);
  ASSERT_OK(bank);
  for (size_t r = 0; r < model_.revisions.size(); ++r) ExpectEqual(**bank, r);
  EXPECT_GT(acknowledged_, 0);
  std::printf("killed %d times, %lld operations acknowledged, %zu revisions\n", rounds,
              static_cast<long long>(acknowledged_), model_.revisions.size());
}

INSTANTIATE_TEST_SUITE_P(, KillTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Encrypted" : "Plain"; });

}  // namespace
}  // namespace msa
