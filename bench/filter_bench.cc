// What a filter costs: making its set of passages, using one that is kept, and what routing and
// lexical search take with it and without, in turns. One JSON line.
//
//   msa_filter_bench [--documents 100000] [--words 20] [--latents 10] [--samples 21] [--threads 2]
//       [--folder DIR]
//
// Each document is a passage with so many int8 keys of 192 dimensions; its label "tenant" is one of
// ten, its label "all" the same for all. DIR, a temporary folder by default, is removed at the end.

#include <cstdio>
#include <filesystem>

#include "bank_data.h"
#include "msa/kernels/route.h"

namespace msa::bench {
namespace {

constexpr int64_t kTenants = 10;
constexpr int64_t kTopK = 16;
const LatentLayout kLayout{.key_dim = 192,
                           .layers = 1,
                           .kv_heads = 1,
                           .head_dim = 4,
                           .key_dtype = DType::kI8,
                           .latent_dtype = DType::kI8};

LabelFilter Tenant(int64_t tenant) { return {{"tenant", std::to_string(tenant)}}; }

LatentBlock RandomLatents(int64_t chunks, std::mt19937& random) {
  LatentBlock block;
  block.chunks = {chunks};
  block.chunk_tokens = 64;
  block.keys.resize(static_cast<size_t>(chunks * kLayout.key_row_bytes()));
  for (std::byte& b : block.keys) b = static_cast<std::byte>(random());
  block.key_scales.assign(static_cast<size_t>(chunks), 0.01f);
  block.latents.resize(static_cast<size_t>(chunks * kLayout.latent_row_bytes()));
  block.latent_scales.assign(static_cast<size_t>(chunks * kLayout.latent_row_scales()), 1.0f);
  return block;
}

EncodingId Fill(Bank& bank, const Options& options) {
  const int64_t documents = Number(options, "--documents", 100000);
  const int64_t words = Number(options, "--words", 20);
  const int64_t latents = Number(options, "--latents", 10);
  ZipfText text;
  auto writer = Require(bank.StartWrite());
  for (int64_t i = 0; i < documents; ++i) {
    NewDocument document = MakeDocument(i, text.Words(4));
    AddPassage(&document, text.Words(words));
    document.labels = Tenant(i % kTenants);
    document.labels["all"] = "yes";
    Require(writer->Add(std::move(document)));
  }
  Require(writer->Commit("bench"));
  const EncodingId encoding = Require(writer->OpenEncoding({{}, "feed", "{}", kLayout}));
  const auto missing = Require(Require(bank.Latest())->FindUnencoded(encoding));
  std::mt19937 random(1);
  int64_t waiting = 0;
  for (const auto& m : missing) {
    Require(writer->AddLatents(encoding, m.version, 0, RandomLatents(latents, random)));
    if (++waiting % 5000 == 0) Require(writer->CommitLatents());
  }
  Require(writer->CommitLatents());
  return encoding;
}

class FilterBench {
 public:
  FilterBench(std::shared_ptr<const Snapshot> snapshot, EncodingId encoding, int threads)
      : snapshot_(std::move(snapshot)),
        runs_(Require(snapshot_->RoutingKeys(encoding))),
        pool_(threads),
        query_(static_cast<size_t>(kLayout.key_dim)),
        hits_(kTopK),
        scratch_(static_cast<size_t>(
            RouteScratchBytes(1, kLayout.key_dim, 1, kTopK, pool_.num_threads()))) {
    std::mt19937 random(2);
    for (float& x : query_) x = std::uniform_real_distribution(-1.0f, 1.0f)(random);
  }

  int64_t num_latents() const {
    int64_t rows = 0;
    for (const KeyRun& run : runs_) rows += run.chunk_begin.back();
    return rows;
  }

  // As a question gets them: by run.
  std::vector<std::vector<uint8_t>> Bits(const LabelFilter& filter) const {
    std::vector<std::vector<uint8_t>> bits;
    const auto passages = Require(snapshot_->MatchingPassages(filter));
    for (const KeyRun& run : runs_) bits.push_back(passages->kept.BitsOf(run.passages));
    return bits;
  }

  // `bits` by run; none: everything is visible. Returns the hits.
  const std::vector<RouteHit>& Route(const std::vector<std::vector<uint8_t>>& bits) {
    std::vector<RouterKeysView> views;
    for (size_t i = 0; i < runs_.size(); ++i) {
      const KeyRun& run = runs_[i];
      views.push_back({kLayout.key_dtype, std::ssize(run.passages), kLayout.key_dim, run.keys,
                       run.scales, run.chunk_begin.data(), run.passages.data(),
                       bits.empty() ? nullptr : bits[i].data()});
    }
    const int64_t token_begin[] = {0, 1};
    Require(RouteTopK(views, {query_.data(), 1, kLayout.key_dim}, token_begin, kTopK, scratch_,
                      {hits_.data(), 1, kTopK}, &pool_));
    return hits_;
  }

 private:
  const std::shared_ptr<const Snapshot> snapshot_;
  const std::span<const KeyRun> runs_;
  ThreadPool pool_;
  std::vector<float> query_;
  std::vector<RouteHit> hits_;
  std::vector<std::byte> scratch_;
};

double Median(std::vector<double> samples) {
  std::ranges::sort(samples);
  return Quantile(samples, 0.5);
}

void RunBench(Bank& bank, const Options& options) {
  const EncodingId encoding = Fill(bank, options);
  const auto snapshot = Require(bank.Latest());
  FilterBench bench(snapshot, encoding, static_cast<int>(Number(options, "--threads", 2)));

  std::vector<double> build;
  for (int64_t tenant = 0; tenant < kTenants; ++tenant) {
    build.push_back(
        Milliseconds([&] { Require(snapshot->MatchingPassages(Tenant(tenant)).status()); }));
  }
  const LabelFilter all = {{"all", "yes"}};
  const double build_all = Milliseconds([&] { Require(snapshot->MatchingPassages(all).status()); });
  for (const RouteHit& hit : bench.Route(bench.Bits(Tenant(3)))) {
    if (hit.passage.value % kTenants != 3) throw std::runtime_error("a hidden passage was found");
  }

  std::vector<double> kept, kept_all, route, route_tenant, route_all;
  std::vector<double> words, words_tenant, words_all;
  ZipfText text;
  for (int64_t i = 0; i < Number(options, "--samples", 21); ++i) {
    std::vector<std::vector<uint8_t>> bits;
    kept.push_back(Milliseconds([&] { bits = bench.Bits(Tenant(3)); }));
    route_tenant.push_back(Milliseconds([&] { bench.Route(bits); }));
    kept_all.push_back(Milliseconds([&] { bits = bench.Bits(all); }));
    route_all.push_back(Milliseconds([&] { bench.Route(bits); }));
    route.push_back(Milliseconds([&] { bench.Route({}); }));
    const std::string question = text.Words(6);
    const auto search = [&](const LabelFilter& filter) {
      return Milliseconds([&] { Require(snapshot->SearchLexical(question, 16, filter).status()); });
    };
    words.push_back(search({}));
    words_tenant.push_back(search(Tenant(3)));
    words_all.push_back(search(all));
  }
  std::printf(
      "{\"case\": \"filter\", \"documents\": %lld, \"latents\": %lld, \"build_tenth_ms\": %.2f, "
      "\"build_all_ms\": %.2f, \"kept_tenth_ms\": %.3f, \"kept_all_ms\": %.3f, \"route_ms\": %.2f, "
      "\"route_tenth_ms\": %.2f, \"route_all_ms\": %.2f, \"kept_share_of_routing\": %.3f, "
      "\"words_ms\": %.2f, \"words_tenth_ms\": %.2f, \"words_all_ms\": %.2f}\n",
      static_cast<long long>(Require(snapshot->Stats()).documents),
      static_cast<long long>(bench.num_latents()), Median(build), build_all, Median(kept),
      Median(kept_all), Median(route), Median(route_tenant), Median(route_all),
      (Median(kept_all) + std::max(0.0, Median(route_all) - Median(route))) / Median(route),
      Median(words), Median(words_tenant), Median(words_all));
}

int Run(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  if (argc % 2 == 0) {
    std::fprintf(stderr, "usage: msa_filter_bench [--option value]…\n");
    return 2;
  }
  const std::string folder =
      options.contains("--folder")
          ? options["--folder"]
          : (std::filesystem::temp_directory_path() / "msa_filter_bench").string();
  std::filesystem::remove_all(folder);
  RunBench(*Require(Bank::Create(folder, {})), options);
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) {
  try {
    return msa::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
