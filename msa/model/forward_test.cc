// The two forward passes, libtorch's f32 and our integer kernels, on the same random weights.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "msa/model/cpu_forward.h"
#include "msa/model/test_model.h"
#include "msa/model/torch_forward.h"

namespace msa {
namespace {

using testing::HasSubstr;
using testing_model::TestModel;

using Passages = std::vector<std::vector<TokenId>>;

double Cosine(std::span<const float> a, std::span<const float> b) {
  MSA_CHECK(a.size() == b.size() && !a.empty());
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// Everything a transformer computes, end to end.
struct Outcome {
  std::vector<float> keys, latents, query, logits;
};

double WorstCosine(const Outcome& a, const Outcome& b) {
  return std::min({Cosine(a.keys, b.keys), Cosine(a.latents, b.latents), Cosine(a.query, b.query),
                   Cosine(a.logits, b.logits)});
}

class Forward : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto source = WeightSource::Open(TestModel::Random(GetParam(), 3).Write());
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = std::move(*source);
    plan_.backbone = source_->config();
    plan_.memory.passage_tokens = 64;
    plan_.memory.chunk_tokens = 8;
    plan_.memory.memory_layers = {1, 2};
    plan_.memory.routing_layers = {1, 2};
    plan_.adapter = Adapter::Untrained(plan_.memory);
    plan_.adapter.layers[1].alpha = 1.5;
  }
  void Train() { plan_.adapter = testing_model::RandomAdapter(plan_.backbone, plan_.memory, 5); }

  std::unique_ptr<Transformer> Torch() {
    auto forward = LoadTorchForward(*source_, plan_, WeightMode::kF32, "cpu", 1);
    MSA_CHECK(forward.ok());
    return std::move(*forward);
  }
  std::unique_ptr<Transformer> Cpu(int threads) {
    auto forward = LoadCpuForward(*source_, plan_, WeightMode::kI8, threads);
    MSA_CHECK(forward.ok());
    return std::move(*forward);
  }

  static Passages RandomPassages(std::initializer_list<int> lengths) {
    Passages passages;
    for (const int length : lengths) {
      passages.emplace_back();
      for (int i = 0; i < length; ++i) passages.back().push_back((i * 17 + length * 5) % 50);
    }
    return passages;
  }

  EncodedBatch Encode(Transformer& forward, const Passages& passages) {
    EncodedBatch out;
    int64_t total = 0;
    for (const auto& passage : passages) {
      out.chunks.push_back((std::ssize(passage) + 7) / 8);
      total += out.chunks.back();
    }
    out.keys.resize(static_cast<size_t>(total * plan_.key_dim()));
    out.latents.resize(static_cast<size_t>(total * plan_.latent_size()));
    const std::vector<std::span<const TokenId>> views(passages.begin(), passages.end());
    MSA_CHECK(forward.Encode(views, &out).ok());
    return out;
  }

  // Encodes, asks, and reads with the latents attached.
  Outcome RunAll(Transformer& forward) {
    const Passages passages = RandomPassages({8, 1, 37, 64, 5});
    EncodedBatch batch = Encode(forward, passages);
    auto query = forward.RouteQuery(passages[2]);
    MSA_CHECK(query.ok());
    AttachedMemory memory{std::ssize(batch.keys) / plan_.key_dim(), batch.latents, {}};
    for (int64_t i = 0; i < memory.num_latents; ++i) {
      memory.routing_score.push_back(0.05f * static_cast<float>(i));
    }
    auto session = forward.StartSession(std::move(memory));
    MSA_CHECK(session.ok());
    auto logits = (*session)->FeedAll(passages[2]);
    MSA_CHECK(logits.ok());
    return {std::move(batch.keys), std::move(batch.latents), std::move(*query), std::move(*logits)};
  }

  std::unique_ptr<WeightSource> source_;
  MemoryPlan plan_;
};

// Rounding weights and activations to 8 bits leaves .998 here; see tests/model_parity_test.py for
// what a wrong formula leaves.
constexpr double kCloseCosine = 0.99;

TEST_P(Forward, IntegerProductsStayCloseToF32) {
  EXPECT_GT(WorstCosine(RunAll(*Torch()), RunAll(*Cpu(2))), kCloseCosine);
}

TEST_P(Forward, IntegerProductsStayCloseToF32WithAnAdapter) {
  Train();
  EXPECT_GT(WorstCosine(RunAll(*Torch()), RunAll(*Cpu(2))), kCloseCosine);
}

TEST_P(Forward, WithoutMemoryAnAdapterChangesNothing) {
  const std::vector<TokenId> tokens = RandomPassages({37})[0];
  for (const bool integer : {false, true}) {
    std::vector<std::vector<float>> logits;
    for (const bool trained : {false, true}) {
      if (trained) Train();
      const auto forward = integer ? Cpu(2) : Torch();
      MSA_CHECK(forward->RouteQuery(tokens).ok());  // what the tower computes does not matter
      const AttachedMemory nothing;
      logits.push_back(*(*forward->StartSession(std::nullopt))->FeedAll(tokens));
      EXPECT_EQ(*(*forward->StartSession(nothing))->FeedAll(tokens), logits.back());
    }
    EXPECT_EQ(logits[0], logits[1]);
    plan_.adapter = Adapter::Untrained(plan_.memory);
  }
}

TEST_P(Forward, OnlyWhatAnUpdateChangesIsLoadedAndAtFirstUse) {
  const auto attach = [&](Transformer& forward) {
    const std::vector<float> latents(static_cast<size_t>(plan_.latent_size()));
    MSA_CHECK(forward.StartSession(AttachedMemory{1, latents, {0.0f}}).ok());
  };
  for (const bool integer : {false, true}) {
    plan_.adapter = Adapter::Untrained(plan_.memory);
    const auto plain = integer ? Cpu(1) : Torch();
    const int64_t bytes = plain->resident_bytes();
    attach(*plain);
    MSA_CHECK(plain->StartSession(std::nullopt).ok());
    EXPECT_EQ(plain->resident_bytes(), bytes) << "without updates one backbone serves all";

    Train();
    const LowRankLayer updated = plan_.adapter.reader[2];
    plan_.adapter.layers = Adapter::Untrained(plan_.memory).layers;
    plan_.adapter.tower.clear();
    plan_.adapter.reader.assign(3, {});
    plan_.adapter.reader[2] = updated;
    const auto reads = integer ? Cpu(1) : Torch();
    EXPECT_EQ(reads->resident_bytes(), bytes);
    attach(*reads);
    const int64_t one_layer = reads->resident_bytes() - bytes;
    EXPECT_GT(one_layer, 0);
    EXPECT_LT(3 * one_layer, bytes);  // embeddings and the other layers are shared

    std::swap(plan_.adapter.tower, plan_.adapter.reader);
    const auto routes = integer ? Cpu(1) : Torch();
    EXPECT_EQ(routes->resident_bytes(), bytes);
    attach(*routes);
    EXPECT_EQ(routes->resident_bytes(), bytes + one_layer) << "then the plain layer as well";
  }
}

TEST_P(Forward, BF16StaysCloseToF32) {
  auto bf16 = LoadTorchForward(*source_, plan_, WeightMode::kBF16, "cpu", 1);
  ASSERT_TRUE(bf16.ok()) << bf16.status();
  EXPECT_GT(WorstCosine(RunAll(*Torch()), RunAll(**bf16)), kCloseCosine);
}

TEST_P(Forward, CudaEqualsTheCpu) {
  for (const bool trained : {false, true}) {
    if (trained) Train();
    auto cuda = LoadTorchForward(*source_, plan_, WeightMode::kF32, "cuda", 1);
    if (!cuda.ok()) GTEST_SKIP() << cuda.status();
    const Outcome expected = RunAll(*Torch());
    const Outcome got = RunAll(**cuda);
    // f32 sums in another order over three layers of unit-sized values.
    constexpr double kTolerance = 1e-4;
    EXPECT_THAT(got.keys, testing::Pointwise(testing::FloatNear(kTolerance), expected.keys));
    EXPECT_THAT(got.latents, testing::Pointwise(testing::FloatNear(kTolerance), expected.latents));
    EXPECT_THAT(got.query, testing::Pointwise(testing::FloatNear(kTolerance), expected.query));
    EXPECT_THAT(got.logits, testing::Pointwise(testing::FloatNear(kTolerance), expected.logits));
    auto bf16 = LoadTorchForward(*source_, plan_, WeightMode::kBF16, "cuda", 1);
    ASSERT_TRUE(bf16.ok()) << bf16.status();
    EXPECT_GT(WorstCosine(expected, RunAll(**bf16)), kCloseCosine);
  }
}

TEST_P(Forward, AReaderOfItsOwnReadsBesideTexts) {
  Train();
  const std::vector<TokenId> tokens = RandomPassages({37})[0];
  for (const bool integer : {false, true}) {
    const auto read = [&](bool beside_text) {
      const auto forward = integer ? Cpu(2) : Torch();
      AttachedMemory memory{.num_latents = 1, .routing_score = {0}, .beside_text = beside_text};
      memory.latents = testing_model::RandomFloats(static_cast<size_t>(plan_.latent_size()), 1, 7);
      return *(*forward->StartSession(memory))->FeedAll(tokens);
    };
    const Adapter trained = plan_.adapter;
    const auto beside = read(true);
    EXPECT_NE(beside, read(false));
    plan_.adapter.reader = plan_.adapter.text_reader;
    EXPECT_EQ(beside, read(false));
    plan_.adapter.text_reader.clear();
    EXPECT_EQ(beside, read(true)) << "without it the reader reads beside texts, too";
    plan_.adapter = trained;
  }
}

// Rows of different lengths, with more latents, fewer and none, beside texts and alone, scored from
// different tokens on: the batch gives what one session a row gives.
TEST_P(Forward, ScoresEqualWhatSessionsGive) {
  Train();
  for (const bool integer : {false, true}) {
    const auto forward = integer ? Cpu(2) : Torch();
    const Passages passages = RandomPassages({30, 2, 64, 37});
    std::vector<AttachedMemory> memories;
    for (const auto& passage : passages) {
      const EncodedBatch batch = Encode(*forward, {passage});
      memories.push_back({batch.chunks[0], batch.latents, {}});
      for (int64_t i = 0; i < batch.chunks[0]; ++i) {
        memories.back().routing_score.push_back(0.1f * static_cast<float>(i % 3));
      }
    }
    memories[0].beside_text = true;
    const std::vector<ScoreRow> rows = {{passages[0], &memories[2], 1},
                                        {passages[1]},
                                        {passages[2], &memories[0], 60},
                                        {passages[3], nullptr, 36},
                                        {passages[3], &memories[3], 1}};
    const auto scores = forward->Score(rows);
    ASSERT_TRUE(scores.ok()) << scores.status();
    ASSERT_EQ(scores->size(), rows.size());
    for (size_t r = 0; r < rows.size(); ++r) {
      std::optional<AttachedMemory> memory;
      if (rows[r].memory != nullptr) memory = *rows[r].memory;
      const auto session = *forward->StartSession(std::move(memory));
      const auto logits = *session->FeedAll(rows[r].tokens);
      std::vector<float> expected;
      for (size_t t = static_cast<size_t>(rows[r].first); t < rows[r].tokens.size(); ++t) {
        double sum = 0;
        for (size_t v = 0; v < 50; ++v)
          sum += std::exp(static_cast<double>(logits[(t - 1) * 50 + v]));
        const auto token = static_cast<size_t>(rows[r].tokens[t]);
        expected.push_back(static_cast<float>(std::log(sum) - logits[(t - 1) * 50 + token]));
      }
      // f32 sums in another order; integer activations are rounded row by row in either.
      EXPECT_THAT((*scores)[r], testing::Pointwise(testing::FloatNear(1e-4f), expected))
          << "row " << r << ", integer " << integer;
    }
  }
}

TEST_P(Forward, KeysHaveUnitHeads) {
  const EncodedBatch out = Encode(*Cpu(1), RandomPassages({37}));
  for (size_t i = 0; i < out.keys.size(); i += 16) {
    double squares = 0;
    for (size_t j = i; j < i + 16; ++j) squares += static_cast<double>(out.keys[j]) * out.keys[j];
    EXPECT_NEAR(squares, 1, 1e-5);
  }
}

TEST_P(Forward, LatentsDoNotDependOnCompanyOrThreads) {
  const Passages passages = RandomPassages({8, 1, 37, 64, 5, 64, 63, 12});
  const EncodedBatch together = Encode(*Cpu(3), passages);
  const auto single = Cpu(1);
  size_t key = 0;
  size_t latent = 0;
  for (const auto& passage : passages) {
    const EncodedBatch alone = Encode(*single, {passage});
    for (const float x : alone.keys) ASSERT_EQ(x, together.keys[key++]);
    for (const float x : alone.latents) ASSERT_EQ(x, together.latents[latent++]);
  }
  EXPECT_EQ(key, together.keys.size());
}

TEST_P(Forward, ASessionRefusesWhatTheModelCannotRead) {
  for (const bool integer : {false, true}) {
    const auto forward = integer ? Cpu(1) : Torch();
    const auto session = *forward->StartSession(std::nullopt);
    const std::vector<TokenId> tokens(200, 1);
    EXPECT_TRUE(session->Feed(tokens).ok());
    const Status beyond = session->Feed(tokens).status();
    EXPECT_EQ(beyond.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(beyond.message(), HasSubstr("context of 256"));
    EXPECT_EQ(session->num_tokens(), 200);
    EXPECT_THAT(session->Feed(std::vector<TokenId>{50}).status().message(), HasSubstr("token 50"));
    EXPECT_FALSE(session->Feed({}).ok());
  }
}

TEST_P(Forward, AnUnknownDeviceIsNamed) {
  const auto forward = LoadTorchForward(*source_, plan_, WeightMode::kF32, "abacus", 1);
  ASSERT_FALSE(forward.ok());
  EXPECT_EQ(forward.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(forward.status().message(), HasSubstr("abacus"));
}

INSTANTIATE_TEST_SUITE_P(Families, Forward, testing::Values("llama", "qwen3"));

TEST(PackPassages, FillsPacksInAscendingLength) {
  const std::vector<TokenId> tokens(100);
  const std::span<const TokenId> all(tokens);
  const std::vector<std::span<const TokenId>> passages = {all.first(30), all.first(10),
                                                          all.first(100), all.first(20)};
  using testing::ElementsAre;
  EXPECT_THAT(PackPassages(passages, 60), ElementsAre(Pack{1, 3, 0}, Pack{2}));
  EXPECT_THAT(PackPassages(passages, 1), ElementsAre(Pack{1}, Pack{3}, Pack{0}, Pack{2}));
  EXPECT_TRUE(PackPassages({}, 60).empty());
}

}  // namespace
}  // namespace msa
