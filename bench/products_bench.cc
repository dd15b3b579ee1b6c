// Quantised products on the shapes of a 135M-parameter backbone, against what the machine can do:
// large ones against the measured peak of the integer multiply-add they use, one-row ones against
// the measured read bandwidth. One JSON line a case; each sample times the floor right beside the
// kernel, because a shared machine's clock and memory change from second to second.
//
//   products_bench [threads]        MSA_ISA=avx2 products_bench

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "msa/kernels/attend.h"
#include "msa/kernels/block_ops.h"
#include "msa/kernels/quant_matmul.h"

namespace msa {
namespace {

constexpr int kSamples = 20;

double Seconds(FunctionRef<void()> f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Independent chains of the instruction on which the 8-bit kernel of each Isa rests; multiply-adds
// a call.
__attribute__((target("avx512f,avx512vnni"))) double SpinVnni() {
  constexpr int kRounds = 100000;
  for (int i = 0; i < kRounds; ++i)
    asm volatile(
        "vpdpbusd %%zmm30, %%zmm31, %%zmm0\n vpdpbusd %%zmm30, %%zmm31, %%zmm1\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm2\n vpdpbusd %%zmm30, %%zmm31, %%zmm3\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm4\n vpdpbusd %%zmm30, %%zmm31, %%zmm5\n"
        "vpdpbusd %%zmm30, %%zmm31, %%zmm6\n vpdpbusd %%zmm30, %%zmm31, %%zmm7\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
  return 8.0 * 64 * kRounds;
}

__attribute__((target("avx2"))) double SpinAvx2() {
  constexpr int kRounds = 100000;
  for (int i = 0; i < kRounds; ++i)
    asm volatile(
        "vpmaddwd %%ymm14, %%ymm15, %%ymm0\n vpmaddwd %%ymm14, %%ymm15, %%ymm1\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm2\n vpmaddwd %%ymm14, %%ymm15, %%ymm3\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm4\n vpmaddwd %%ymm14, %%ymm15, %%ymm5\n"
        "vpmaddwd %%ymm14, %%ymm15, %%ymm6\n vpmaddwd %%ymm14, %%ymm15, %%ymm7\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
  return 8.0 * 16 * kRounds;
}

double Spin() { return BestIsa() == Isa::kAvx512Vnni ? SpinVnni() : SpinAvx2(); }

__attribute__((target("avx2"))) void ReadAll(const std::byte* p, int64_t bytes) {
  __m256i sum = _mm256_setzero_si256();
  for (int64_t i = 0; i + 128 <= bytes; i += 128)
    for (int64_t j = 0; j < 128; j += 32)
      sum = _mm256_xor_si256(sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + j)));
  asm volatile("" ::"x"(sum));
}

std::vector<float> RandomFloats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  return values;
}

std::unique_ptr<QuantMatrix> Weights(int64_t outputs, int64_t inputs, WeightFormat format,
                                     Isa isa = BestIsa()) {
  const auto values = RandomFloats(outputs * inputs, 1);
  return std::move(
      QuantMatrix::FromF32(MatrixView(values.data(), outputs, inputs), format, isa).value());
}

const char* FormatName(WeightFormat format) { return format == WeightFormat::kI8Row ? "i8" : "i4"; }

// The first rows against the reference before any time is taken.
void CheckAgainstReference(const QuantMatrix& w, WeightFormat format, const std::vector<float>& x,
                           const std::vector<float>& y) {
  const auto reference = Weights(w.outputs(), w.inputs(), format, Isa::kReference);
  std::vector<float> expected(w.outputs());
  reference->Multiply({x.data(), 1, w.inputs()}, {expected.data(), 1, w.outputs()}, nullptr);
  for (int64_t n = 0; n < w.outputs(); ++n) {
    // 8 bits equal; 4 bits differ in the order of f32 sums.
    const float bound = format == WeightFormat::kI8Row ? 0 : 1e-3f;
    if (std::abs(y[n] - expected[n]) > bound) {
      std::fprintf(stderr, "output %ld: %g, the reference has %g\n", static_cast<long>(n), y[n],
                   expected[n]);
      std::exit(1);
    }
  }
}

void LargeProduct(int64_t rows, int64_t outputs, int64_t inputs, WeightFormat format) {
  const auto w = Weights(outputs, inputs, format);
  const auto x = RandomFloats(rows * inputs, 2);
  QuantisedBuffer buffer;
  const QuantisedRows q = buffer.Resize(rows, inputs, w->activation_block());
  std::vector<float> y(rows * outputs);
  w->Multiply({x.data(), rows, inputs}, {y.data(), rows, outputs}, nullptr);
  CheckAgainstReference(*w, format, x, y);
  QuantiseRows({x.data(), rows, inputs}, q);
  std::vector<double> rate, share;
  for (int i = 0; i < kSamples; ++i) {
    double spun = 0;
    const double spin_s = Seconds([&] { spun = Spin(); });
    const double product_s =
        Seconds([&] { w->MultiplyQuantised(q, {y.data(), rows, outputs}, nullptr); });
    rate.push_back(rows * outputs * inputs / product_s * 1e-9);
    share.push_back(rate.back() / (spun / spin_s * 1e-9));
  }
  std::printf(
      "{\"case\": \"product\", \"isa\": \"%s\", \"weights\": \"%s\", \"threads\": 1, "
      "\"rows\": %ld, \"outputs\": %ld, \"inputs\": %ld, \"gmac_s\": %.1f, \"best\": %.1f, "
      "\"share_of_peak\": %.3f, \"samples\": %d}\n",
      IsaName(BestIsa()).data(), FormatName(format), long{rows}, long{outputs}, long{inputs},
      Median(rate), std::ranges::max(rate), Median(share), kSamples);
}

// One row against matrices that together exceed every cache, as the layers of a model do.
void OneRow(int64_t outputs, int64_t inputs, WeightFormat format, ThreadPool* pool) {
  std::vector<std::unique_ptr<QuantMatrix>> layers;
  int64_t bytes = 0;
  while (bytes < 200'000'000) {
    layers.push_back(Weights(outputs, inputs, format));
    bytes += layers.back()->resident_bytes();
  }
  const auto x = RandomFloats(inputs, 2);
  std::vector<float> y(outputs);
  layers[0]->Multiply({x.data(), 1, inputs}, {y.data(), 1, outputs}, pool);
  CheckAgainstReference(*layers[0], format, x, y);
  const std::vector<std::byte> other(bytes, std::byte{1});
  std::vector<double> rate, share;
  for (int i = 0; i < kSamples; ++i) {
    const double read_s = Seconds([&] {
      pool->ParallelFor(bytes, bytes / 32, [&](int64_t begin, int64_t end, int) {
        ReadAll(other.data() + begin, end - begin);
      });
    });
    const double product_s = Seconds([&] {
      for (const auto& w : layers) w->Multiply({x.data(), 1, inputs}, {y.data(), 1, outputs}, pool);
    });
    rate.push_back(bytes / product_s * 1e-9);
    share.push_back(read_s / product_s);
  }
  std::printf(
      "{\"case\": \"one row\", \"isa\": \"%s\", \"weights\": \"%s\", \"threads\": %d, "
      "\"outputs\": %ld, \"inputs\": %ld, \"gb_s\": %.1f, \"best\": %.1f, "
      "\"share_of_bandwidth\": %.3f, \"samples\": %d}\n",
      IsaName(BestIsa()).data(), FormatName(format), pool->num_threads(), long{outputs},
      long{inputs}, Median(rate), std::ranges::max(rate), Median(share), kSamples);
}

int Main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 0);
  for (auto [outputs, inputs] :
       {std::pair<int64_t, int64_t>{960, 576}, {576, 576}, {192, 576}, {3072, 576}, {576, 1536}}) {
    LargeProduct(256, outputs, inputs, WeightFormat::kI8Row);
    LargeProduct(512, outputs, inputs, WeightFormat::kI8Row);
    LargeProduct(256, outputs, inputs, WeightFormat::kI4Block);
  }
  for (WeightFormat format : {WeightFormat::kI8Row, WeightFormat::kI4Block}) {
    for (auto [outputs, inputs] :
         {std::pair<int64_t, int64_t>{960, 576}, {3072, 576}, {576, 1536}, {49152, 576}})
      OneRow(outputs, inputs, format, &pool);
  }
  return 0;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) { return msa::Main(argc, argv); }
