# Component vierbein::cuda: a static library with the kernels, for the header backend/cuda.hpp.
include(CheckLanguage)

find_package(CUDAToolkit 12 QUIET)
if(CUDAToolkit_FOUND AND NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}" CACHE FILEPATH "Device compiler")
endif()
# For g++ and clang++ alike, nvcc compiles the kernels with the g++ that it finds.
check_language(CUDA)
if(NOT CUDAToolkit_FOUND OR NOT CMAKE_CUDA_COMPILER OR NOT TARGET CUDA::cublasLt)
  vierbein_missing_component(CUDA "nvcc and cuBLAS (the CUDA toolkit, 12 or later)")
  return()
endif()

# For every generation of devices its own code, and for later ones PTX of the newest. CUDA 13 has
# dropped compute capability 7.0.
set(architectures 75-real 80-real 86-real 89-real 90)
if(CUDAToolkit_VERSION VERSION_LESS 13)
  list(PREPEND architectures 70-real)
endif()
if(DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(architectures ${CMAKE_CUDA_ARCHITECTURES})
endif()
set(VIERBEIN_CUDA_ARCHITECTURES "${architectures}" CACHE STRING
    "Devices that vierbein::cuda is compiled for, as in CMAKE_CUDA_ARCHITECTURES")
enable_language(CUDA)

add_library(vierbein_cuda STATIC include/vierbein/backend/cuda/kernels.cu)
add_library(vierbein::cuda ALIAS vierbein_cuda)
set_target_properties(vierbein_cuda PROPERTIES
  EXPORT_NAME cuda POSITION_INDEPENDENT_CODE ON
  CUDA_ARCHITECTURES "${VIERBEIN_CUDA_ARCHITECTURES}")
target_include_directories(vierbein_cuda PRIVATE "${PROJECT_SOURCE_DIR}/include")
# CMake 3.25 does not know that nvcc compiles C++20, so CUDA_STANDARD cannot say it. Warning 554: a view of constants has a conversion that is never used.
target_compile_options(vierbein_cuda PRIVATE
  -std=c++20 --extended-lambda --expt-relaxed-constexpr --diag-suppress=554 --threads=0)
target_link_libraries(vierbein_cuda INTERFACE vierbein)
vierbein_link(vierbein_cuda CUDA::cublas CUDA::cublasLt CUDA::cudart_static)
