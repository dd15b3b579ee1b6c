// Which CPU kernels this machine runs. Chosen once at run time from what the processor reports;
// overridable so that tests and benchmarks reach every path.
#pragma once

#include <string_view>

namespace msa {

// Ascending: each includes those before it.
enum class Isa {
  kReference,   // kernels/ref: plain loops
  kAvx2,        // AVX2, FMA, F16C (Highway's static choice on other processors)
  kAvx512Vnni,  // AVX-512 F/BW/VL/DQ and VNNI
};

// The best one of this machine, or what the environment variable MSA_ISA ("ref", "avx2",
// "avx512vnni") asks for, if the machine has it. Read once.
Isa BestIsa();
bool IsaSupported(Isa isa);
std::string_view IsaName(Isa isa);  // "ref", "avx2", "avx512vnni"

}  // namespace msa
