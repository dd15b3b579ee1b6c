#include "msa/kernels/gather.h"

#include <gtest/gtest.h>

#include <vector>

#include "msa/kernels/pool.h"

namespace msa {
namespace {

constexpr int64_t kLayers = 3, kHeads = 2, kDim = 20;
constexpr int64_t kRow = kLayers * 2 * kHeads * kDim;

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaSupported(isa)) isas.push_back(isa);
  return isas;
}

// An integer that says where it stands; at most 127 within a head, so that int8 keeps it exactly
// with the scale that stands beside it.
float Element(int64_t latent, int64_t head, int64_t d) {
  const auto sign = static_cast<float>((latent + head) % 2 == 0 ? 1 : -1);
  return sign * static_cast<float>(d == 0 ? 127 : (7 * d + 3 * head + latent) % 127);
}

struct StoredRun {
  std::vector<std::byte> kv;
  std::vector<float> scales;
  int64_t num_latents;

  StoredRun(DType dtype, int64_t first_latent, int64_t num_latents) : num_latents(num_latents) {
    std::vector<float> values(num_latents * kRow);
    for (int64_t i = 0; i < num_latents * kRow; ++i)
      values[i] = Element(first_latent + i / kRow, i % kRow / kDim, i % kDim);
    kv.resize(values.size() * DTypeSize(dtype));
    if (dtype == DType::kI8) scales.resize(values.size() / kDim);
    StoreRows({values.data(), num_latents, kRow}, dtype, kDim, kv.data(), scales.data(),
              Isa::kReference);
  }
  LatentRun view() const {
    return {kv.data(), scales.empty() ? nullptr : scales.data(), num_latents};
  }
};

TEST(GatherLatents, PutsEveryHeadInItsPlace) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI8}) {
    const StoredRun first(dtype, 0, 3), empty(dtype, 3, 0), second(dtype, 3, 2);
    const LatentRun runs[] = {first.view(), empty.view(), second.view()};
    const int64_t total = 5;
    for (Isa isa : SupportedIsas()) {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        std::vector<float> k(kHeads * total * kDim + 1, -1.0f), v = k;
        GatherLatents(runs, dtype, kLayers, layer, kHeads, kDim, k.data(), v.data(), isa);
        for (int64_t i = 0; i < kHeads * total * kDim; ++i) {
          const int64_t head = i / (total * kDim), latent = i / kDim % total, d = i % kDim;
          const int64_t key_head = layer * 2 * kHeads + head;
          ASSERT_EQ(k[i], Element(latent, key_head, d)) << DTypeName(dtype) << " " << IsaName(isa);
          ASSERT_EQ(v[i], Element(latent, key_head + kHeads, d));
        }
        EXPECT_EQ(k.back(), -1.0f) << "wrote past the end";
        EXPECT_EQ(v.back(), -1.0f) << "wrote past the end";
      }
    }
  }
}

TEST(GatherLatents, NothingSelectedWritesNothing) {
  float untouched = 7;
  GatherLatents({}, DType::kF32, 1, 0, 1, 16, &untouched, &untouched);
  EXPECT_EQ(untouched, 7);
}

}  // namespace
}  // namespace msa
