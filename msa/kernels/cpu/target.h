// Compiles a region of a file for an instruction set, whatever flags the file is compiled with:
//
//   MSA_BEGIN_TARGET("avx2,fma,f16c")
//   ...
//   MSA_END_TARGET
//
// Flags on whole files would also reach the inline functions of every header they include, and the
// linker may keep that copy for machines that cannot run it. So: include headers before the region.
#pragma once

#define MSA_PRAGMA_(tokens) _Pragma(#tokens)

#if defined(__clang__)
#define MSA_BEGIN_TARGET(isa) \
  MSA_PRAGMA_(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define MSA_END_TARGET MSA_PRAGMA_(clang attribute pop)
#else
#define MSA_BEGIN_TARGET(isa) MSA_PRAGMA_(GCC push_options) MSA_PRAGMA_(GCC target(isa))
#define MSA_END_TARGET MSA_PRAGMA_(GCC pop_options)
#endif

#define MSA_AVX2_FEATURES "avx2,fma,f16c"
#define MSA_AVX512_FEATURES "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"
