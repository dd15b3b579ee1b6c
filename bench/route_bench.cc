// Routing with the top k fused: checked against the reference, then timed. One JSON line a case.
// Each sample first reads a buffer of its own front to back with the same threads: that is the
// floor for few tokens, measured in the same moment of a shared machine, and it empties the caches.
//
//   msa_route_bench [--latents 100000,1000000] [--dim 192] [--tokens 1,32] [--dtypes
//   f32,bf16,f16,i8]
//               [--k 16] [--threads 2] [--samples 25] [--keys FILE --queries FILE] [--peer 1]
//
// FILE: raw f32 rows. With --peer another program decides what runs next, so that a rival is timed
// in turns: each line "DTYPE LATENTS TOKENS" on standard input is one sample, answered by one line.
// MSA_ISA chooses the kernels.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "route_data.h"

namespace msa::bench {
namespace {

constexpr int64_t kChunksPerPassage = 4;  // as bench/route_faiss.py

struct Options {
  std::vector<int64_t> latents = {100000, 1000000};
  std::vector<int64_t> tokens = {1, 32};
  std::vector<DType> dtypes = {DType::kF32, DType::kBF16, DType::kF16, DType::kI8};
  int64_t dim = 192;
  int64_t k = 16;
  int threads = 2;
  int samples = 25;
  std::string keys_path;
  std::string queries_path;
  bool peer = false;
};

std::vector<std::string> SplitAtCommas(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

std::vector<int64_t> ParseNumbers(const std::string& list) {
  std::vector<int64_t> numbers;
  for (const std::string& part : SplitAtCommas(list)) numbers.push_back(std::stoll(part));
  return numbers;
}

// Throws std::invalid_argument for anything it does not know.
Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(name + " needs a value");
    const std::string value = argv[i + 1];
    if (name == "--latents")
      options.latents = ParseNumbers(value);
    else if (name == "--tokens")
      options.tokens = ParseNumbers(value);
    else if (name == "--dim")
      options.dim = std::stoll(value);
    else if (name == "--k")
      options.k = std::stoll(value);
    else if (name == "--threads")
      options.threads = std::stoi(value);
    else if (name == "--samples")
      options.samples = std::stoi(value);
    else if (name == "--keys")
      options.keys_path = value;
    else if (name == "--queries")
      options.queries_path = value;
    else if (name == "--peer")
      options.peer = value != "0";
    else if (name == "--dtypes") {
      options.dtypes.clear();
      for (const std::string& part : SplitAtCommas(value)) {
        const auto dtype = ParseDType(part);
        if (!dtype) throw std::invalid_argument("--dtypes " + part);
        options.dtypes.push_back(*dtype);
      }
    } else {
      throw std::invalid_argument(name);
    }
  }
  return options;
}

std::string CpuModel() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

double SecondsOf(FunctionRef<void()> f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double Quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

// The rate at which all threads together read memory: a plain loop over 256 MB.
class ReadFloor {
 public:
  explicit ReadFloor(ThreadPool* pool) : pool_(pool), buffer_(size_t{256} << 17, 1) {}

  double BytesPerSecond() {
    constexpr int64_t kPiece = int64_t{1} << 17;  // 1 MB
    const auto count = static_cast<int64_t>(buffer_.size());
    std::atomic<uint64_t> total = 0;  // keeps the loop from being removed
    const double seconds = SecondsOf([&] {
      pool_->ParallelFor(count, kPiece, [&](int64_t begin, int64_t end, int) {
        total += std::accumulate(buffer_.begin() + begin, buffer_.begin() + end, uint64_t{0});
      });
    });
    MSA_CHECK(total == static_cast<uint64_t>(count));
    return static_cast<double>(buffer_.size() * sizeof(uint64_t)) / seconds;
  }

 private:
  ThreadPool* pool_;
  std::vector<uint64_t> buffer_;
};

// Keys in every size and dtype asked for, and questions of every length.
class Bench {
 public:
  Bench(const Options& options, std::vector<float> keys, std::vector<float> queries)
      : options_(options),
        pool_(options.threads),
        floor_(&pool_),
        keys_(std::move(keys)),
        queries_(std::move(queries)) {}

  int64_t num_keys() const { return static_cast<int64_t>(keys_.size()) / options_.dim; }

  struct Timed {
    double seconds;
    double cpu_seconds;  // of all threads
    double floor;        // bytes per second, just before
    std::vector<RouteHit> hits;
  };
  Timed Sample(DType dtype, int64_t latents, int64_t tokens) {
    const KeySet& keys = Keys(dtype, latents);
    Question question({queries_.data(), tokens, options_.dim}, options_.k, &pool_);
    const double floor = floor_.BytesPerSecond();
    Timed timed = {.seconds = 0, .cpu_seconds = CpuSeconds(), .floor = floor, .hits = {}};
    timed.seconds = SecondsOf([&] { timed.hits = question.Route(keys.View(), BestIsa()); });
    timed.cpu_seconds = CpuSeconds() - timed.cpu_seconds;
    return timed;
  }

  // Compares with the reference, which is slow: over as many passages as some millions of dot
  // products allow. Returns the latents compared.
  int64_t Check(DType dtype, int64_t latents, int64_t tokens) {
    const KeySet& keys = Keys(dtype, latents);
    const int64_t passages =
        std::min<int64_t>(keys.View().num_passages, 2'000'000 / tokens / kChunksPerPassage);
    Question question({queries_.data(), tokens, options_.dim}, options_.k, &pool_);
    const std::vector<RouteHit> found = question.Route(keys.View(passages), BestIsa());
    const std::vector<RouteHit> expected = question.Route(keys.View(passages), Isa::kReference);
    // Far above the rounding of E products in f32 and of a query to 2^-16 of its largest element,
    // far below the distance of keys that differ.
    const float tolerance = 1e-4f * std::abs(expected[0].score);
    for (size_t i = 0; i < found.size(); ++i) {
      const bool apart =
          (i == 0 || expected[i - 1].score - expected[i].score > tolerance) &&
          (i + 1 < found.size() && expected[i].score - expected[i + 1].score > tolerance);
      MSA_CHECK(std::abs(found[i].score - expected[i].score) <= tolerance);
      MSA_CHECK(!apart || found[i].passage == expected[i].passage);
    }
    return keys.View(passages).chunk_begin[passages];
  }

  void Report(DType dtype, int64_t latents, int64_t tokens) {
    const int64_t checked = Check(dtype, latents, tokens);
    Sample(dtype, latents, tokens);  // warm: pages touched, clock up
    std::vector<double> seconds, floors;
    for (int i = 0; i < options_.samples; ++i) {
      const Timed timed = Sample(dtype, latents, tokens);
      seconds.push_back(timed.seconds);
      floors.push_back(timed.floor);
    }
    const double median = Quantile(seconds, 0.5);
    const double rate = static_cast<double>(Keys(dtype, latents).bytes()) / median;
    const double products = 2.0 * static_cast<double>(latents * options_.dim * tokens);
    std::printf(
        "{\"bench\": \"route\", \"device\": \"%s\", \"isa\": \"%s\", \"threads\": %d, "
        "\"dtype\": \"%s\", \"latents\": %ld, \"dim\": %ld, \"tokens\": %ld, \"k\": %ld, "
        "\"checked_latents\": %ld, \"samples\": %d, \"median_ms\": %.3f, \"p10_ms\": %.3f, "
        "\"p90_ms\": %.3f, \"gb_s\": %.1f, \"gop_s\": %.0f, \"read_gb_s\": %.1f, "
        "\"read_share\": %.2f}\n",
        CpuModel().c_str(), std::string(IsaName(BestIsa())).c_str(), options_.threads,
        std::string(DTypeName(dtype)).c_str(), latents, options_.dim, tokens, options_.k, checked,
        options_.samples, median * 1e3, Quantile(seconds, 0.1) * 1e3, Quantile(seconds, 0.9) * 1e3,
        rate / 1e9, products / median / 1e9, Quantile(floors, 0.5) / 1e9,
        rate / Quantile(floors, 0.5));
    std::fflush(stdout);
  }

  void ReportAll() {
    for (const int64_t latents : options_.latents)
      for (const DType dtype : options_.dtypes)
        for (const int64_t tokens : options_.tokens) Report(dtype, latents, tokens);
  }

  // Samples on demand; see the top of the file.
  void ServePeer() {
    std::string dtype;
    for (int64_t latents, tokens; std::cin >> dtype >> latents >> tokens;) {
      const Timed timed = Sample(ParseDType(dtype).value(), latents, tokens);
      std::printf(
          "{\"seconds\": %.9f, \"cpu_seconds\": %.9f, \"read_gb_s\": %.2f, \"isa\": \"%s\", "
          "\"passages\": [",
          timed.seconds, timed.cpu_seconds, timed.floor / 1e9,
          std::string(IsaName(BestIsa())).c_str());
      for (size_t i = 0; i < timed.hits.size(); ++i)
        std::printf("%s%ld", i == 0 ? "" : ", ", timed.hits[i].passage.value);
      std::printf("]}\n");
      std::fflush(stdout);
    }
  }

 private:
  const KeySet& Keys(DType dtype, int64_t latents) {
    MSA_CHECK(latents <= num_keys());
    auto& place = stored_[{dtype, latents}];
    if (place == nullptr)
      place = std::make_unique<KeySet>(MatrixView<const float>(keys_.data(), latents, options_.dim),
                                       dtype, kChunksPerPassage);
    return *place;
  }

  const Options& options_;
  ThreadPool pool_;
  ReadFloor floor_;
  std::vector<float> keys_;
  std::vector<float> queries_;
  std::map<std::pair<DType, int64_t>, std::unique_ptr<KeySet>> stored_;
};

Status Run(const Options& options) {
  std::vector<float> keys, queries;
  if (options.keys_path.empty()) {
    keys = RandomUnitRows(std::ranges::max(options.latents), options.dim, 1);
    queries = RandomUnitRows(std::ranges::max(options.tokens), options.dim, 2);
  } else {
    MSA_ASSIGN_OR_RETURN(keys, ReadRows(options.keys_path, options.dim));
    MSA_ASSIGN_OR_RETURN(queries, ReadRows(options.queries_path, options.dim));
  }
  Bench bench(options, std::move(keys), std::move(queries));
  options.peer ? bench.ServePeer() : bench.ReportAll();
  return {};
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) try {
  const msa::Status status = msa::bench::Run(msa::bench::ParseOptions(argc, argv));
  if (!status.ok()) std::cerr << "route_bench: " << status << "\n";
  return status.ok() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "route_bench: " << error.what() << "\n";
  return 2;
}
