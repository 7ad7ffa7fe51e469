// A device emulated in host memory: the part of the CUDA runtime that the backend uses, so that its
// host code and kernels are tested on machines without a device. Kernels run
// at once; copies to the device only when something needs them, so that memory which is used again
// too early shows. Found before the real header of this name by the emulated tests alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#define VIERBEIN_EMULATED_CUDA 1

struct CUstream_st {};
using cudaStream_t = CUstream_st*;

// NOLINTBEGIN(readability-identifier-naming)
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorIllegalAddress = 700
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
inline constexpr unsigned cudaStreamNonBlocking = 1;

namespace emulated {

/// What the next calls find, and what the calls so far did.
struct machine {
  int driver = 13000, runtime = 13000, devices = 1;
  cudaError_t device_count = cudaSuccess;
  std::size_t total_memory = std::size_t{1} << 30;
  cudaError_t at_launch = cudaSuccess;       ///< the next cudaGetLastError gives this
  cudaError_t at_synchronise = cudaSuccess;  ///< the next synchronisation gives this

  std::size_t used_memory = 0;
  int allocations = 0, synchronisations = 0;
  std::map<void*, std::size_t> blocks;
};
inline machine device;
struct copy {
  void* to;
  const void* from;
  std::size_t to_pitch, from_pitch, width, rows;
};
inline std::vector<copy> copies;  ///< that wait

inline void run_copies() {
  for (const copy& c : copies) {
    for (std::size_t r = 0; r < c.rows; ++r) {
      std::memcpy(static_cast<char*>(c.to) + r * c.to_pitch,
                  static_cast<const char*>(c.from) + r * c.from_pitch, c.width);
    }
  }
  copies.clear();
}

inline constexpr std::size_t guard = 256;  ///< bytes behind a block

}  // namespace emulated

inline const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice: return "cudaErrorNoKernelImageForDevice";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
  }
  return "unknown";
}
inline const char* cudaGetErrorString(cudaError_t code) {
  return code == cudaErrorIllegalAddress ? "an illegal memory access was encountered"
                                         : "as the name says";
}
inline cudaError_t cudaGetLastError() {
  const cudaError_t code = emulated::device.at_launch;
  emulated::device.at_launch = cudaSuccess;
  return code;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulated::device.driver;
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = emulated::device.runtime;
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated::device.devices;
  return emulated::device.device_count;
}
inline cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  emulated::run_copies();
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = emulated::device.total_memory;
  *free = *total - emulated::device.used_memory;
  return cudaSuccess;
}
// Fresh memory holds NaN, so that what is read before it is written shows; so does what lies behind
// it, and a block that was written beyond its end ends the program when it is freed.
inline cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  auto& m = emulated::device;
  if (m.used_memory + bytes > m.total_memory) {
    return cudaErrorMemoryAllocation;
  }
  *block = std::aligned_alloc(256, (bytes + emulated::guard + 255) / 256 * 256);
  std::memset(*block, 0xff, bytes + emulated::guard);
  m.blocks[*block] = bytes;
  m.used_memory += bytes;
  ++m.allocations;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* block) {
  auto& m = emulated::device;
  if (const auto found = m.blocks.find(block); found != m.blocks.end()) {
    m.used_memory -= found->second;
    const auto* const behind = static_cast<const unsigned char*>(block) + found->second;
    if (!std::all_of(behind, behind + emulated::guard, [](unsigned char c) { return c == 0xff; })) {
      std::fputs("emulated device: memory was written beyond its end\n", stderr);
      std::abort();
    }
    m.blocks.erase(found);
  }
  std::free(block);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  *block = std::malloc(bytes);
  ++emulated::device.allocations;
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* block) {
  std::free(block);
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  emulated::run_copies();
  ++emulated::device.synchronisations;
  const cudaError_t code = emulated::device.at_synchronise;
  emulated::device.at_synchronise = cudaSuccess;
  return code;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                                     std::size_t from_pitch, std::size_t width, std::size_t rows,
                                     cudaMemcpyKind kind, cudaStream_t) {
  emulated::copies.push_back({to, from, to_pitch, from_pitch, width, rows});
  if (kind == cudaMemcpyDeviceToHost) {
    emulated::run_copies();
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind k,
                                   cudaStream_t s) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, k, s);
}
// NOLINTEND(readability-identifier-naming)
