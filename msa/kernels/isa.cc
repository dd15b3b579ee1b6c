#include "msa/kernels/isa.h"

#include <cstdio>
#include <cstdlib>

#include "msa/base/check.h"

namespace msa {
namespace {

Isa DetectBest() {
  for (Isa isa : {Isa::kAvx512Vnni, Isa::kAvx2})
    if (IsaSupported(isa)) return isa;
  return Isa::kReference;
}

Isa ChooseFromEnvironment() {
  const Isa best = DetectBest();
  const char* asked = std::getenv("MSA_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512Vnni})
    if (IsaName(isa) == asked && IsaSupported(isa)) return isa;
  // A measurement made under a name that was silently ignored would be worse than this line.
  std::fprintf(stderr, "MSA_ISA=%s: unknown or not supported by this processor; using %s\n", asked,
               IsaName(best).data());
  return best;
}

}  // namespace

Isa BestIsa() {
  static const Isa best = ChooseFromEnvironment();
  return best;
}

bool IsaSupported(Isa isa) {
  switch (isa) {
    case Isa::kReference: return true;
#if defined(__x86_64__)
    // __builtin_cpu_supports also asks whether the operating system saves the registers.
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Isa::kAvx512Vnni:
      return IsaSupported(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
#else
    case Isa::kAvx2:
    case Isa::kAvx512Vnni: return false;
#endif
  }
  return false;
}

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kReference: return "ref";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512Vnni: return "avx512vnni";
  }
  MSA_CHECK(false);
}

}  // namespace msa
