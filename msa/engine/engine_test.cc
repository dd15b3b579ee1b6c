#include "msa/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "msa/model/adapter.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// A folder of its own for each test, with three small documents, and the default model.
class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto model = DefaultModelPath();
    if (!model.ok()) GTEST_SKIP() << model.status();
    folder_ = fs::temp_directory_path() / ("msa_engine_test." + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "docs");
    Write("lighthouse.txt",
          "The Eddystone lighthouse was rebuilt by John Smeaton in 1759. It stands off Plymouth.");
    Write("bridge.md",
          "# The Iron Bridge\n\nThe Iron Bridge crosses the River Severn. It opened on 1 January "
          "1781.");
    Write("tea.txt",
          "Green tea is steeped at 80 degrees for two minutes. Black tea wants boiling water.");
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / "docs" / name) << text;
  }
  std::string Docs() const { return (folder_ / "docs").string(); }
  std::string BankPath() const { return (folder_ / "bank").string(); }
  static EngineOptions Quiet() {
    EngineOptions options;
    options.progress = ProgressMode::kOff;
    return options;
  }
  static EngineOptions With(const std::string& adapter) {
    EngineOptions options = Quiet();
    options.adapter_path = adapter;
    return options;
  }
  // Untrained, but its latents weigh in the fused ranking. P is 32.
  std::string WriteAdapter(bool text_reader = false) {
    const auto model = MemoryModel::Load(*DefaultModelPath(), "", {}, {});
    Adapter adapter = Adapter::Untrained((*model)->memory());
    adapter.latent_weight = 0.5;
    adapter.chunk_tokens = 32;
    if (text_reader) {
      const BackboneConfig& backbone = (*model)->backbone();
      adapter.text_reader.resize(static_cast<size_t>(backbone.num_layers));
      adapter.text_reader.front().front() = {
          1, std::vector<float>(static_cast<size_t>(backbone.hidden_size)),
          std::vector<float>(static_cast<size_t>(backbone.query_size()))};
    }
    const std::string path = (folder_ / "a.safetensors").string();
    MSA_CHECK(adapter.Save(path, (*model)->backbone(), (*model)->memory(), DType::kF32).ok());
    return path;
  }
  std::unique_ptr<Engine> MakeBank(bool encode = true, const EngineOptions& options = Quiet(),
                                   int64_t documents = 3) {
    auto engine = Engine::OpenOrCreate(BankPath(), options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    const auto report = (*engine)->Add({Docs()}, {.encode = encode});
    EXPECT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->added, documents);
    return std::move(engine).value();
  }

  fs::path folder_;
};

TEST_F(EngineTest, AddingAgainChangesNothing) {
  const auto engine = MakeBank();
  const auto again = engine->Add({Docs()}, {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->added + again->replaced, 0);
  EXPECT_EQ(again->unchanged, 3);
  EXPECT_EQ(again->unencoded_passages, 0);
}

TEST_F(EngineTest, FusedRankingEqualsLexicalWithoutAnAdapter) {
  const auto engine = MakeBank(/*encode=*/true, With("none"));
  const auto fused = engine->Search("Who rebuilt the lighthouse?", {});
  const auto lexical = engine->Search("Who rebuilt the lighthouse?", {.heads = Heads::kLexical});
  ASSERT_TRUE(fused.ok() && lexical.ok());
  ASSERT_FALSE(fused->results.empty());
  EXPECT_EQ(fused->results[0].title, "lighthouse");
  ASSERT_EQ(fused->results.size(), lexical->results.size());
  for (size_t i = 0; i < fused->results.size(); ++i) {
    EXPECT_EQ(fused->results[i].passage, lexical->results[i].passage);
  }
}

TEST_F(EngineTest, AnAdapterWeighsTheLatentHead) {
  const auto engine = MakeBank(/*encode=*/true, With(WriteAdapter()));
  const auto found = engine->Search("steeping tea", {});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->results.size(), 3u);
  for (const Retrieved& result : found->results) EXPECT_TRUE(result.heads.contains("latent"));
  // Rank 1 of a head adds its weight over a constant and 1, and the lexical head weighs 1.
  const auto latent = engine->Search("steeping tea", {.heads = Heads::kLatent});
  ASSERT_TRUE(latent.ok()) << latent.status();
  const auto only_latent =
      std::ranges::find_if(found->results, [](const auto& r) { return r.heads.size() == 1; });
  ASSERT_NE(only_latent, found->results.end());
  const auto same = std::ranges::find_if(
      latent->results, [&](const auto& r) { return r.passage == only_latent->passage; });
  ASSERT_NE(same, latent->results.end());
  EXPECT_NEAR(only_latent->score, 0.5 * same->score, 1e-9);
}

TEST_F(EngineTest, ANewBankTakesTheAdaptersChunks) {
  const std::string adapter = WriteAdapter();
  EXPECT_EQ(MakeBank(/*encode=*/true, With(adapter))->bank().options().chunk_tokens, 32);
  fs::remove_all(BankPath());
  EngineOptions given = With(adapter);
  given.memory.chunk_tokens = 16;
  EXPECT_EQ(MakeBank(/*encode=*/true, given)->bank().options().chunk_tokens, 16);
  fs::remove_all(BankPath());
  EXPECT_EQ(MakeBank(/*encode=*/true, With("none"))->bank().options().chunk_tokens, 64);
}

TEST_F(EngineTest, LatentsOfAnotherAdapterAreRefused) {
  const std::string adapter = WriteAdapter();
  MakeBank(/*encode=*/true, With(adapter));
  const auto without = Engine::Open(BankPath(), With("none"));
  const auto refused = (*without)->Search("tea", {.heads = Heads::kLatent});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), testing::HasSubstr("--adapter " + adapter));
  EXPECT_EQ((*without)->Search("tea", {})->results.size(), 1u) << "the words are found without";
  const auto with = Engine::Open(BankPath(), With(adapter));
  EXPECT_EQ((*with)->Search("tea", {.heads = Heads::kLatent})->results.size(), 3u);

  fs::remove_all(BankPath());
  MakeBank(/*encode=*/true, With("none"));
  const auto another = Engine::Open(BankPath(), With(adapter));
  const auto fused = (*another)->Search("tea", {});
  ASSERT_FALSE(fused.ok());
  EXPECT_THAT(fused.status().message(), testing::HasSubstr("--adapter none"));
}

TEST_F(EngineTest, LatentHeadRanksEveryPassage) {
  const auto engine = MakeBank();
  const auto found = engine->Search("steeping tea", {.heads = Heads::kLatent});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->results.size(), 3u);
  EXPECT_EQ(found->counters.passages, 3);
}

// Keys in 8 bits are stored rotated, and the question with them: the scores stay.
TEST_F(EngineTest, LatentScoresDoNotDependOnTheTypeOfKeys) {
  std::map<std::string, std::pair<float, float>> scores;  // by title: f32, i8
  for (const DType dtype : {DType::kF32, DType::kI8}) {
    EngineOptions options = Quiet();
    options.memory.key_dtype = dtype;
    auto engine = Engine::OpenOrCreate(BankPath() + std::string(DTypeName(dtype)), options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_TRUE((*engine)->Add({Docs()}, {}).ok());
    const auto found = (*engine)->Search("Who rebuilt it?", {.heads = Heads::kLatent});
    ASSERT_TRUE(found.ok()) << found.status();
    for (const Retrieved& result : found->results) {
      auto& [f32, i8] = scores[result.title];
      (dtype == DType::kF32 ? f32 : i8) = result.heads.at("latent").score;
    }
  }
  ASSERT_EQ(scores.size(), 3u);
  // Far above the steps of 8 bits (about 1 % of a good score), far below what no rotation would do.
  float largest = 0;
  for (const auto& [title, both] : scores) largest = std::max(largest, std::abs(both.first));
  for (const auto& [title, both] : scores)
    EXPECT_NEAR(both.second, both.first, 0.02 * largest) << title;
}

TEST_F(EngineTest, LatentHeadSaysWhatIsNotEncoded) {
  const auto engine = MakeBank(/*encode=*/false);
  const auto found = engine->Search("tea", {.heads = Heads::kLatent});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->results.empty());
  EXPECT_EQ(found->unencoded_passages, 3);
  const auto encoded = engine->Encode();
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  EXPECT_EQ(encoded->passages, 3);
  EXPECT_EQ(engine->Search("tea", {.heads = Heads::kLatent})->results.size(), 3u);
}

TEST_F(EngineTest, WhereKeepsOtherDocumentsOut) {
  const auto engine = MakeBank();
  for (const Heads heads : {Heads::kLexical, Heads::kLatent}) {
    const auto found =
        engine->Search("the bridge opened", {.heads = heads, .where = {{"title", "tea"}}});
    ASSERT_TRUE(found.ok()) << found.status();
    for (const Retrieved& result : found->results) EXPECT_EQ(result.title, "tea");
    EXPECT_EQ(found->unencoded_passages, 0);
    if (heads == Heads::kLatent) {
      EXPECT_EQ(found->results.size(), 1u);
      EXPECT_EQ(found->counters.passages, 1) << "what may not be read is not counted either";
    }
  }
}

TEST_F(EngineTest, AnswersAndCitesTheSpan) {
  const auto engine = MakeBank();
  std::string streamed;
  const auto answer = engine->Ask("Who rebuilt the Eddystone lighthouse?", {},
                                  [&](std::string_view text) { streamed += text; });
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->answered) << answer->answer;
  EXPECT_THAT(answer->answer, testing::HasSubstr("Smeaton"));
  EXPECT_THAT(streamed, testing::HasSubstr(answer->answer));
  ASSERT_FALSE(answer->citations.empty());
  EXPECT_THAT(answer->citations[0].evidence.text, testing::HasSubstr("John Smeaton"));
}

TEST_F(EngineTest, ReadsLatents) {
  const auto engine = MakeBank();
  for (const ReadMode read : {ReadMode::kLatents, ReadMode::kBoth}) {
    const auto answer =
        engine->Ask("When did the Iron Bridge open?", {.read = read, .max_tokens = 8}, nullptr);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_GT(answer->counters.latents, 0);
  }
}

TEST_F(EngineTest, ReadsLatentsBesideTextWhereTheAdapterHasAReaderForIt) {
  for (const bool text_reader : {true, false}) {
    for (const bool encode : {true, false}) {
      fs::remove_all(BankPath());
      const auto engine = MakeBank(encode, With(WriteAdapter(text_reader)));
      const auto answer =
          engine->Ask("Who rebuilt the Eddystone lighthouse?", {.max_tokens = 1}, nullptr);
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(answer->counters.latents > 0, text_reader && encode);
    }
  }
}

TEST_F(EngineTest, ReadsTheTextOfPassagesWithoutLatents) {
  const auto engine = MakeBank(/*encode=*/false);
  const auto answer =
      engine->Ask("Who rebuilt the Eddystone lighthouse?", {.read = ReadMode::kLatents}, nullptr);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->counters.latents, 0);
  EXPECT_EQ(answer->unencoded_passages, 3);
  EXPECT_THAT(answer->answer, testing::HasSubstr("Smeaton"));
}

TEST_F(EngineTest, ThePastIsAskedWithTodaysModel) {
  const auto engine = MakeBank();
  ASSERT_TRUE(engine->Remove({"tea"}, {}).ok());
  for (const Heads heads : {Heads::kLexical, Heads::kLatent}) {
    const auto now = engine->Search("black tea", {.heads = heads, .k = 3});
    ASSERT_TRUE(now.ok()) << now.status();
    for (const Retrieved& result : now->results) EXPECT_NE(result.title, "tea");
    const auto past = engine->Search("black tea", {.heads = heads, .k = 3, .at = RevisionId{1}});
    ASSERT_TRUE(past.ok()) << past.status();
    EXPECT_EQ(past->revision.value, 1);
    EXPECT_TRUE(std::ranges::any_of(past->results, [](const auto& r) { return r.title == "tea"; }));
  }
  const auto answer = engine->Ask(
      "How hot is green tea steeped?",
      {.search = {.k = 4, .at = RevisionId{1}}, .read = ReadMode::kBoth, .max_tokens = 8}, nullptr);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_GT(answer->counters.latents, 0) << "what is gone today kept its latents";
  EXPECT_EQ(engine->Search("tea", {.at = RevisionId{7}}).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, HopsFollowTitlesInWhatWasFound) {
  Write("film.md", "# Big Eyes\n\nBig Eyes is a film about a painter, directed by Tim Burton.");
  Write("man.md", "# Tim Burton (director)\n\nHe grew up in Burbank and loves Lena Gieseke.");
  Write("artist.md", "# Lena Gieseke\n\nShe makes pictures in Stuttgart.");
  Write("name.md", "# Burt\n\nBurt is no painter.");  // a word of the film's text begins with it
  const auto engine = MakeBank(/*encode=*/false, With("none"), 7);
  const auto search = [&](std::string_view query, int64_t hops) {
    const auto found = engine->Search(query, {.heads = Heads::kLexical, .k = 3, .hops = hops});
    EXPECT_TRUE(found.ok()) << found.status();
    std::vector<std::string> titles;
    for (const Retrieved& result : found->results) {
      titles.push_back(result.title);
      const auto named = result.heads.find("named");
      if (named != result.heads.end())
        titles.back().append("*").append(std::to_string(named->second.rank));
    }
    return titles;
  };
  EXPECT_THAT(search("Who made Big Eyes?", 1), testing::ElementsAre("Big Eyes"));
  EXPECT_THAT(search("Who made Big Eyes?", 2),
              testing::ElementsAre("Big Eyes", "Tim Burton (director)*1"));
  EXPECT_THAT(
      search("Who made Big Eyes?", 3),
      testing::UnorderedElementsAre("Big Eyes", "Tim Burton (director)*1", "Lena Gieseke*2"));
  // What the question names is found without.
  EXPECT_THAT(search("Has Tim Burton made Big Eyes?", 2),
              testing::UnorderedElementsAre("Big Eyes", "Tim Burton (director)", "Lena Gieseke*1"));
  EXPECT_THAT(search("nothing of this", 2), testing::IsEmpty());
  EXPECT_EQ(engine->Search("tea", {.hops = 0}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(EngineTest, TooLongAQuestionIsAClearError) {
  const auto engine = MakeBank(/*encode=*/false);
  std::string question;
  for (int i = 0; i < 20000; ++i) question += "why ";
  const auto answer = engine->Ask(question, {}, nullptr);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(answer.status().message(), testing::HasSubstr("context"));
}

TEST_F(EngineTest, EmptyBankSaysWhatToDo) {
  ASSERT_TRUE(Bank::Create(BankPath(), {}).ok());
  const auto engine = Engine::Open(BankPath(), Quiet());
  ASSERT_TRUE(engine.ok());
  const auto found = (*engine)->Search("tea", {});
  EXPECT_EQ(found.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(found.status().message(), testing::HasSubstr("msa add"));
}

TEST_F(EngineTest, MigratesToAnotherAdapter) {
  const auto before = MakeBank(/*encode=*/true, With("none"));
  const auto opened = Engine::Open(BankPath(), With(WriteAdapter()));
  ASSERT_TRUE(opened.ok());
  Engine& engine = **opened;
  const SearchOptions latent{.heads = Heads::kLatent};
  const auto refused = engine.Search("green tea", latent);
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), testing::HasSubstr("msa migrate"));

  const auto report = engine.Migrate();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->moved);
  EXPECT_NE(report->from, report->to);
  EXPECT_EQ(report->encode.passages, 3);
  const auto found = engine.Search("green tea", latent);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->results.size(), 3u);
  EXPECT_EQ(found->unencoded_passages, 0);
  // Who has the old model open is told.
  EXPECT_EQ(before->Search("green tea", latent).status().code(), StatusCode::kFailedPrecondition);
  const auto again = engine.Migrate();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->moved);
  EXPECT_EQ(again->encode.passages, 0);
}

TEST_F(EngineTest, AMigrationThatWasStoppedGoesOn) {
  const auto before = MakeBank(/*encode=*/true, With("none"));
  const std::string adapter = WriteAdapter();
  std::atomic<bool> cancelled = true;
  EngineOptions options = With(adapter);
  options.cancelled = &cancelled;
  const auto stopped = (*Engine::Open(BankPath(), options))->Migrate();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_FALSE(stopped->moved);
  EXPECT_EQ(stopped->encode.left_passages, 3);
  // The old encoding answers and takes documents meanwhile.
  Write("new.txt", "A compass points north.");
  const auto added = before->Add({Docs()}, {});
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->unencoded_passages, 0);
  EXPECT_TRUE(before->Search("compass", {.heads = Heads::kLatent}).ok());
  const auto report = (*Engine::Open(BankPath(), With(adapter)))->Migrate();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->moved);
  EXPECT_EQ(report->encode.passages, 4);
}

TEST_F(EngineTest, OnlyChangedPassagesAreEncoded) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "Sentence " + std::to_string(i) + " is of the old text. ";
  Write("long.txt", text);
  auto engine = Engine::OpenOrCreate(BankPath(), Quiet());
  ASSERT_TRUE(engine.ok());
  const auto first = (*engine)->Add({Docs()}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  // Passages are cut from the front, so a change at the end leaves those before as they were.
  Write("long.txt", text + "One more sentence.");
  const auto second = (*engine)->Add({Docs()}, {});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->replaced, 1);
  EXPECT_EQ(second->reused_passages + second->encoded_passages, second->passages);
  EXPECT_GE(second->encoded_passages, 1);
  EXPECT_LE(second->encoded_passages, 2);
  EXPECT_GT(second->passages, 10);
  EXPECT_EQ(second->unencoded_passages, 0);
}

TEST_F(EngineTest, SyncFollowsAFolderInOneRevision) {
  const auto engine = MakeBank();
  const int64_t before = (*engine->bank().Latest())->revision().value;
  Write("new.txt", "A compass points north.");
  Write("tea.txt", "White tea is steeped at 75 degrees.");
  fs::remove(folder_ / "docs" / "bridge.md");
  Write("lighthouse.txt", "");  // cannot be read: its document stays
  const auto dry = engine->Sync(Docs(), {.dry_run = true});
  ASSERT_TRUE(dry.ok()) << dry.status();
  EXPECT_EQ(dry->add.revision.value, before);
  EXPECT_EQ((*engine->bank().Latest())->revision().value, before);

  const auto report = engine->Sync(Docs(), {});
  ASSERT_TRUE(report.ok()) << report.status();
  const std::string docs = fs::canonical(Docs()).string();
  EXPECT_THAT(report->changes,
              testing::ElementsAre(DocumentChange{docs + "/new.txt", ChangeKind::kAdded},
                                   DocumentChange{docs + "/tea.txt", ChangeKind::kReplaced},
                                   DocumentChange{docs + "/bridge.md", ChangeKind::kRemoved}));
  EXPECT_EQ(dry->changes, report->changes);
  EXPECT_EQ(report->add.failures.size(), 1u);
  EXPECT_EQ(report->add.revision.value, before + 1);
  EXPECT_EQ(report->add.unencoded_passages, 0);
  EXPECT_TRUE((*engine->bank().Latest())->FindDocument("lighthouse").ok());
  EXPECT_FALSE((*engine->bank().Latest())->FindDocument("bridge").ok());

  const auto again = engine->Sync(Docs(), {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->changes.empty());
  EXPECT_EQ(again->add.revision.value, before + 1);
}

TEST_F(EngineTest, SyncLeavesWhatCameFromElsewhere) {
  const auto engine = MakeBank();
  fs::create_directories(folder_ / "docs2");
  std::ofstream(folder_ / "docs2" / "other.txt") << "Another folder.";
  const auto report = engine->Sync((folder_ / "docs2").string(), {.encode = false});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->changes.size(), 1u);
  EXPECT_EQ((*engine->bank().Latest())->Stats()->documents, 4);
  EXPECT_EQ(engine->Sync((folder_ / "absent").string(), {}).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, RemoveTakesAllOrNone) {
  const auto engine = MakeBank();
  EXPECT_EQ(engine->Remove({"tea", "absent"}, {}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ((*engine->bank().Latest())->Stats()->documents, 3);
  const auto report = engine->Remove({"tea"}, {{"title", "tea"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->removed.size(), 1u);
  EXPECT_EQ((*engine->bank().Latest())->Stats()->documents, 2);
}

// Batches are read, encoded and written at the same time, and a batch ends within a document.
TEST_F(EngineTest, EveryPassageHasTheLatentsItHasAlone) {
  EngineOptions options = With("none");
  options.memory.memory_layers = {0};  // the first layer alone: thousands of tokens in a second
  options.memory.key_dtype = DType::kF32;
  options.memory.latent_dtype = DType::kF32;
  auto engine = Engine::OpenOrCreate(BankPath(), options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const int64_t batch_tokens = (*(*engine)->Model())->batch_tokens();
  for (int document = 0; document < 8; ++document) {
    std::string text;
    for (int64_t word = 0; word < batch_tokens / 3; ++word) {
      text += "Number " + std::to_string((document * 7919 + word * 104729) % 1000) + ". ";
    }
    Write(std::to_string(document) + ".txt", text);
  }
  const auto added = (*engine)->Add({Docs()}, {});
  ASSERT_TRUE(added.ok()) << added.status();
  ASSERT_GT(added->tokens, 4 * batch_tokens);
  EXPECT_EQ(added->encoded_passages, added->passages);
  const auto snapshot = *(*engine)->bank().Latest();
  const EncodingId encoding = snapshot->Encodings()->back().info.id;
  int64_t passages = 0;
  const auto check = [&](const DocumentInfo& document) {
    const DocumentContent content = *snapshot->ReadContent(document.version);
    for (size_t p = 0; p < content.passages.size(); ++p, ++passages) {
      const std::span<const TokenId> tokens(content.tokens[p]);
      const EncodedBatch alone = *(*(*engine)->Model())->Encode({&tokens, 1});
      const auto block = snapshot->ReadLatents(encoding, content.passages[p].id);
      EXPECT_TRUE(block.ok()) << block.status();
      if (!block.ok()) return false;
      EXPECT_TRUE(std::ranges::equal(block->latents, std::as_bytes(std::span(alone.latents))))
          << document.key << ", passage " << p;
    }
    return true;
  };
  ASSERT_TRUE(snapshot->ForEachDocument({}, check).ok());
  EXPECT_EQ(passages, added->passages);
}

TEST_F(EngineTest, CancelledAddLeavesASoundBank) {
  std::atomic<bool> cancelled = true;
  EngineOptions options = Quiet();
  options.cancelled = &cancelled;
  auto engine = Engine::OpenOrCreate(BankPath(), options);
  ASSERT_TRUE(engine.ok());
  const auto report = (*engine)->Add({Docs()}, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->cancelled);
  cancelled = false;
  const auto rest = (*engine)->Add({Docs()}, {});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(rest->added + rest->unchanged, 3);
  EXPECT_EQ(rest->unencoded_passages, 0);
}

}  // namespace
}  // namespace msa
