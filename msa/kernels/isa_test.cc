#include "msa/kernels/isa.h"

#include <gtest/gtest.h>

namespace msa {
namespace {

TEST(Isa, BestIsOneThatThisMachineHas) { EXPECT_TRUE(IsaSupported(BestIsa())); }

TEST(Isa, ReferenceRunsEverywhere) { EXPECT_TRUE(IsaSupported(Isa::kReference)); }

TEST(Isa, EachLevelIncludesTheOnesBefore) {
  if (IsaSupported(Isa::kAvx512Vnni)) {
    EXPECT_TRUE(IsaSupported(Isa::kAvx2));
  }
}

TEST(Isa, NamesAreThoseTheHeaderPromises) {
  EXPECT_EQ(IsaName(Isa::kReference), "ref");
  EXPECT_EQ(IsaName(Isa::kAvx2), "avx2");
  EXPECT_EQ(IsaName(Isa::kAvx512Vnni), "avx512vnni");
}

}  // namespace
}  // namespace msa
