# libtorch as it lies inside the PyPI package `torch`: target torch::torch.
#
# The wheel's own TorchConfig.cmake asks for a CUDA toolkit when the wheel is the CUDA one, though we compile no CUDA
# with it; naming its folders ourselves works with either.
#
# Looks in MSA_TORCH_ROOT, then in the project's .venv, then asks python3.

set(MSA_TORCH_ROOT "" CACHE PATH "Folder of the Python package torch (holds include/ and lib/)")
set(_torch_root ${MSA_TORCH_ROOT})
if(NOT _torch_root)
  foreach(_python ${PROJECT_SOURCE_DIR}/.venv/bin/python python3)
    execute_process(
      COMMAND ${_python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
      OUTPUT_VARIABLE _torch_root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE _torch_missing)
    if(NOT _torch_missing)
      break()
    endif()
    set(_torch_root "")
  endforeach()
endif()

find_path(TorchWheel_INCLUDE_DIR ATen/ATen.h PATHS ${_torch_root}/include NO_DEFAULT_PATH)
find_library(TorchWheel_CPU_LIBRARY torch_cpu PATHS ${_torch_root}/lib NO_DEFAULT_PATH)
find_library(TorchWheel_C10_LIBRARY c10 PATHS ${_torch_root}/lib NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TorchWheel
  REQUIRED_VARS TorchWheel_CPU_LIBRARY TorchWheel_C10_LIBRARY TorchWheel_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/setup, or pass -DMSA_TORCH_ROOT=<site-packages>/torch")

if(TorchWheel_FOUND AND NOT TARGET torch::torch)
  add_library(torch::torch INTERFACE IMPORTED)
  target_include_directories(torch::torch SYSTEM INTERFACE
    ${TorchWheel_INCLUDE_DIR} ${TorchWheel_INCLUDE_DIR}/torch/csrc/api/include)
  target_link_libraries(torch::torch INTERFACE ${TorchWheel_CPU_LIBRARY} ${TorchWheel_C10_LIBRARY})
  if(MSA_CUDA)
    target_compile_definitions(torch::torch INTERFACE MSA_CUDA=1)
    # Nothing of ours names a symbol of libtorch_cuda; loading it is what registers the device.
    target_link_options(torch::torch INTERFACE
      "LINKER:--no-as-needed,${_torch_root}/lib/libtorch_cuda.so,${_torch_root}/lib/libc10_cuda.so,--as-needed")
  endif()
  set_property(TARGET torch::torch APPEND PROPERTY INTERFACE_LINK_OPTIONS "LINKER:-rpath,${_torch_root}/lib")
endif()
