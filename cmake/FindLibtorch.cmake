# SPDX-License-Identifier: Apache-2.0
# Finds libtorch's C++ part: a prefix with include/ and lib/, as scripts/deps lays it
# out from the wheel, or any libtorch distribution. We do not use its own
# TorchConfig.cmake: the wheel's wants a whole CUDA toolkit even for CPU use.
# Provides Libtorch::torch; links the CUDA part when the installation has it.
find_path(Libtorch_INCLUDE_DIR torch/script.h PATH_SUFFIXES include)
find_library(Libtorch_CPU_LIBRARY torch_cpu)
find_library(Libtorch_C10_LIBRARY c10)
find_library(Libtorch_CUDA_LIBRARY torch_cuda)
find_library(Libtorch_C10_CUDA_LIBRARY c10_cuda)
foreach(header IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(Libtorch_INCLUDE_DIR AND EXISTS "${Libtorch_INCLUDE_DIR}/${header}")
    file(STRINGS "${Libtorch_INCLUDE_DIR}/${header}" lines
      REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
    if(lines)
      string(REGEX MATCHALL "[0-9]+" parts "${lines}")
      list(JOIN parts "." Libtorch_VERSION)
      break()
    endif()
  endif()
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch
  REQUIRED_VARS Libtorch_CPU_LIBRARY Libtorch_C10_LIBRARY Libtorch_INCLUDE_DIR
  VERSION_VAR Libtorch_VERSION
  REASON_FAILURE_MESSAGE "Run scripts/deps, or point CMAKE_PREFIX_PATH to an installed libtorch.")
if(Libtorch_FOUND AND NOT TARGET Libtorch::torch)
  add_library(Libtorch::torch INTERFACE IMPORTED)
  set_target_properties(Libtorch::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES
      "${Libtorch_INCLUDE_DIR};${Libtorch_INCLUDE_DIR}/torch/csrc/api/include"
    # The linker need not find what the wheel's libraries need; at run time they do, beside
    # themselves.
    INTERFACE_LINK_OPTIONS "LINKER:--allow-shlib-undefined"
    INTERFACE_LINK_LIBRARIES "${Libtorch_CPU_LIBRARY};${Libtorch_C10_LIBRARY}")
  if(Libtorch_CUDA_LIBRARY AND Libtorch_C10_CUDA_LIBRARY)
    set_property(TARGET Libtorch::torch APPEND PROPERTY INTERFACE_LINK_LIBRARIES
      "-Wl,--no-as-needed" "${Libtorch_CUDA_LIBRARY}" "${Libtorch_C10_CUDA_LIBRARY}"
      "-Wl,--as-needed")
    set_property(TARGET Libtorch::torch APPEND PROPERTY INTERFACE_COMPILE_DEFINITIONS ZIYU_HAS_CUDA)
  endif()
endif()
