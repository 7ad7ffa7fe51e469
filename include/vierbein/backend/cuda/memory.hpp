// Memory of a device, and of the host that a device can reach.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>

#include "vierbein/backend/cuda/check.hpp"
#include "vierbein/backend/cuda/sequence.hpp"

namespace vierbein::backend {

/// Memory of the device that is current for the calling thread.
struct device_memory {
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    device::sequence::use_device_of_thread();
    void* block = nullptr;
    const cudaError_t code = cudaMalloc(&block, std::max<std::size_t>(bytes, 1));
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      std::size_t free = 0;
      std::size_t total = 0;
      device::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
      throw device_error(
          "cuda",
          fmt::format("out of device memory: {:.1f} MiB were asked for, {:.1f} of "
                      "{:.1f} MiB are free",
                      device::mebibytes(bytes), device::mebibytes(free), device::mebibytes(total)));
    }
    device::check(code, "cudaMalloc");
    return block;
  }
  /// Waits for what this thread's backends were asked for, which may still use the block; not for
  /// the whole device, on which other threads may be capturing.
  static void deallocate(void* block) noexcept {
    device::sequence::finish_all();
    static_cast<void>(cudaFree(block));
  }
};

namespace device {

/// Host memory that the device can read and write by itself.
struct pinned_memory {
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    void* block = nullptr;
    check(cudaMallocHost(&block, bytes), "cudaMallocHost");
    return block;
  }
  static void deallocate(void* block) noexcept { static_cast<void>(cudaFreeHost(block)); }
};

/// One block of memory that grows, forgetting what it held.
template <class Memory>
class block_of {
 public:
  block_of() = default;
  block_of(const block_of&) = delete;
  block_of& operator=(const block_of&) = delete;
  ~block_of() { release(); }

  [[nodiscard]] std::size_t capacity() const { return capacity_; }

  /// At least so many bytes.
  template <class T>
  [[nodiscard]] T* at_least(std::size_t bytes) {
    if (bytes > capacity_) {
      const std::size_t wanted = std::max(bytes + bytes / 4, smallest);
      release();
      data_ = Memory::allocate(wanted);
      capacity_ = wanted;
    }
    return static_cast<T*>(data_);
  }

 private:
  static constexpr std::size_t smallest = std::size_t{1} << 16;

  void release() noexcept {
    if (data_ != nullptr) {
      Memory::deallocate(data_);
    }
    data_ = nullptr;
    capacity_ = 0;
  }

  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace device
}  // namespace vierbein::backend
