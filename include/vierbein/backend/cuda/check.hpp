// Checked calls of the CUDA runtime, and the choice of a device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "vierbein/core/error.hpp"

namespace vierbein::backend::device {

/// Throws unless a call of the CUDA runtime succeeded; `doing` is the operation that made it.
inline void check(cudaError_t code, const char* call, const char* doing = nullptr) {
  if (code == cudaSuccess) {
    return;
  }
  static_cast<void>(cudaGetLastError());
  const std::string place = doing == nullptr ? "cuda" : fmt::format("cuda, {}", doing);
  if (code == cudaErrorNoKernelImageForDevice) {
    throw device_error(place,
                       fmt::format("{}: this program holds no kernels for the device: its compute "
                                   "capability belongs in VIERBEIN_CUDA_ARCHITECTURES",
                                   call));
  }
  throw device_error(
      place, fmt::format("{}: {} ({})", call, cudaGetErrorString(code), cudaGetErrorName(code)));
}

inline double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / (1024.0 * 1024.0);
}

/// "13.0" for CUDA's 13000.
inline std::string version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

/// Makes a device current for this thread. Throws, saying which of these is wrong: there is no
/// driver, it is too old, there is no device, or none of that number.
inline void select(int wanted) {
  int driver = 0;
  int runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  require(driver > 0, "cuda",
          "no NVIDIA driver is installed; a program built with CUDA {} needs one",
          version(runtime));
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  require(code != cudaErrorInsufficientDriver, "cuda",
          "the driver supports CUDA {}, but the program was built with CUDA {}: a newer driver is "
          "needed",
          version(driver), version(runtime));
  if (code != cudaErrorNoDevice) {
    check(code, "cudaGetDeviceCount");
  }
  require(code != cudaErrorNoDevice && count > 0, "cuda", "this machine has no CUDA device");
  require(wanted >= 0 && wanted < count, "cuda",
          "expected the number of a device from 0 to {}, found {}", count - 1, wanted);
  check(cudaSetDevice(wanted), "cudaSetDevice");
}

}  // namespace vierbein::backend::device
