# Debian's packages through their own CMake files or pkg-config; libtorch out of the PyPI package `torch`.

include(MsaLibraries)
if(MSA_TESTS)
  find_package(GTest REQUIRED)
endif()
if(MSA_BENCH)
  find_package(benchmark REQUIRED)
endif()
if(MSA_TORCH)
  find_package(CLI11 REQUIRED)
endif()
