#include "msa/kernels/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace msa {
namespace {

TEST(AddLowRank, EqualsTheProductOnEveryIsa) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto values = [&](int64_t count) {
    std::vector<float> out(static_cast<size_t>(count));
    for (float& x : out) x = normal(random);
    return out;
  };
  for (const Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni}) {
    if (!IsaSupported(isa)) continue;
    for (const int64_t rank : {1, 3, 4, 5, 16}) {
      for (const int64_t inputs : {1, 15, 16, 33}) {
        const int64_t outputs = 9;
        const auto a = values(rank * inputs);
        const auto b = values(rank * outputs);
        const auto before = values(outputs * inputs);
        std::vector<float> w = before;
        AddLowRank({a.data(), rank, inputs}, {b.data(), rank, outputs}, {w.data(), outputs, inputs},
                   isa);
        for (int64_t i = 0; i < outputs; ++i) {
          for (int64_t j = 0; j < inputs; ++j) {
            double sum = before[i * inputs + j], size = std::abs(sum);
            for (int64_t r = 0; r < rank; ++r) {
              const double term = static_cast<double>(b[r * outputs + i]) * a[r * inputs + j];
              sum += term;
              size += std::abs(term);
            }
            // Each addition rounds by at most half a unit of what has been added up.
            EXPECT_NEAR(w[i * inputs + j], sum, size * static_cast<double>(rank + 1) * 0x1p-23)
                << rank << " " << inputs << " " << IsaName(isa);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace msa
