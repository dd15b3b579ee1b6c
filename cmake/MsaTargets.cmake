# The functions every folder's CMakeLists.txt is written in.

include(CMakeParseArguments)

# Warnings and sanitizers of our own code; never of its users.
add_library(msa_build_flags INTERFACE)
target_compile_options(msa_build_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-missing-field-initializers>)
if(CMAKE_BUILD_TYPE STREQUAL "Debug" OR MSA_WERROR)
  target_compile_options(msa_build_flags INTERFACE -Werror)
endif()
if(MSA_SANITIZE)
  target_compile_options(msa_build_flags INTERFACE -fsanitize=${MSA_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(msa_build_flags INTERFACE -fsanitize=${MSA_SANITIZE})
endif()

# msa_add_library(base SOURCES a.cc b.cc DEPS msa::x PkgConfig::Y PRIVATE_DEPS z)
function(msa_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(msa_${name} STATIC ${ARG_SOURCES})
  add_library(msa::${name} ALIAS msa_${name})
  set_target_properties(msa_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(msa_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include>)
  target_link_libraries(msa_${name} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS} $<BUILD_INTERFACE:msa_build_flags>)
  target_compile_features(msa_${name} PUBLIC cxx_std_20)
  set_property(GLOBAL APPEND PROPERTY MSA_LIBRARIES msa_${name})
endfunction()

# msa_add_test(base SOURCES a_test.cc DEPS msa::base [LABELS slow]): one GoogleTest program a folder.
function(msa_add_test name)
  if(NOT MSA_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(msa_${name}_test ${ARG_SOURCES})
  target_link_libraries(msa_${name}_test PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main msa_build_flags)
  target_compile_definitions(msa_${name}_test PRIVATE MSA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND msa_${name}_test)
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
endfunction()

# msa_add_bench(route SOURCES route_bench.cc DEPS msa::kernels)
function(msa_add_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(msa_${name}_bench ${ARG_SOURCES})
  target_link_libraries(msa_${name}_bench PRIVATE ${ARG_DEPS} msa_build_flags)
endfunction()
