# cmake --install, and find_package(msa) for C++ users: link msa::msa (everything) or a folder (msa::bank).

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

get_property(MSA_FOLDERS GLOBAL PROPERTY MSA_LIBRARIES)

# All folders at once. Not named `msa`: that is the program.
add_library(msa_all INTERFACE)
add_library(msa::msa ALIAS msa_all)
set_target_properties(msa_all PROPERTIES EXPORT_NAME msa)
target_link_libraries(msa_all INTERFACE ${MSA_FOLDERS})

install(TARGETS msa_all ${MSA_FOLDERS} EXPORT msaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/msa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h"
  PATTERN cli EXCLUDE
  # Support of our own tests.
  PATTERN "test_*.h" EXCLUDE PATTERN "*_test_util.h" EXCLUDE PATTERN "golden_bank.h" EXCLUDE
  PATTERN "fault_file_system.h" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET msa)
  # libtorch stays where it is.
  set_target_properties(msa PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS msa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # The adapter of the default model (msa/engine/default_model.cc).
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION share/msa OPTIONAL
    FILES_MATCHING PATTERN "*.adapter.safetensors")
endif()

# Where libtorch came from when msa was built; a user may name another place with -DMSA_TORCH_ROOT.
if(TorchWheel_INCLUDE_DIR)
  get_filename_component(MSA_BUILT_WITH_TORCH ${TorchWheel_INCLUDE_DIR} DIRECTORY)
endif()
set(_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/msa)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/msaConfig.cmake.in ${PROJECT_BINARY_DIR}/msaConfig.cmake
  INSTALL_DESTINATION ${_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/msaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT msaTargets NAMESPACE msa:: DESTINATION ${_package_dir})
install(FILES
  ${PROJECT_BINARY_DIR}/msaConfig.cmake
  ${PROJECT_BINARY_DIR}/msaConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindTorchWheel.cmake
  ${PROJECT_SOURCE_DIR}/cmake/MsaLibraries.cmake
  DESTINATION ${_package_dir})
