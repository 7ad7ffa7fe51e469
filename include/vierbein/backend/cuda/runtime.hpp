// What the CUDA backend asks of the CUDA runtime: memory, transfers, one stream of operations.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include "vierbein/backend/cuda/check.hpp"
#include "vierbein/backend/cuda/sequence.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein::backend {

/// Memory of the device that is current for the calling thread.
struct device_memory {
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    void* block = nullptr;
    const cudaError_t code = cudaMalloc(&block, std::max<std::size_t>(bytes, 1));
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      std::size_t free = 0;
      std::size_t total = 0;
      device::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
      throw error("cuda", fmt::format("out of device memory: {:.1f} MiB were asked for, {:.1f} of "
                                      "{:.1f} MiB are free",
                                      device::mebibytes(bytes), device::mebibytes(free),
                                      device::mebibytes(total)));
    }
    device::check(code, "cudaMalloc");
    return block;
  }
  /// Waits for the device first: what was asked for may still use the block.
  static void deallocate(void* block) noexcept {
    device::sequence::launch_all();
    static_cast<void>(cudaDeviceSynchronize());
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

/// A stream of one device, what is to be put on it, and the memory that its operations share.
/// Everything goes through the one stream, so that one operation's scratch memory may be the next
/// one's.
class context {
 public:
  context(int device, bool replay) {
    select(device);
    check(cudaStreamCreateWithFlags(&stream_.handle, cudaStreamNonBlocking),
          "cudaStreamCreateWithFlags");
    work_.emplace(stream_.handle, replay);
  }
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() {
    work_->launch_quietly();
    static_cast<void>(cudaStreamSynchronize(stream_.handle));
  }

  /// Where kernels and calls of libraries go.
  [[nodiscard]] sequence& work() { return *work_; }
  [[nodiscard]] cudaStream_t stream() const { return stream_.handle; }

  /// Notes which operation asked for what was put on the stream last; throws when it could not be.
  void launched(const char* operation) { work_->named(operation); }

  /// Waits until the stream has nothing left to do. An error on the device shows here.
  void synchronise() {
    work_->launch();
    const cudaError_t code = cudaStreamSynchronize(stream_.handle);
    if (code != cudaSuccess) {
      check(code, "cudaStreamSynchronize",
            fmt::format("waiting for the operations up to {}", work_->last()).c_str());
    }
    staged_ = 0;
  }

  /// Memory for partial results of one operation, and for the patches of convolutions, which uses
  /// operations of the first kind.
  template <class T>
  [[nodiscard]] T* scratch(std::size_t bytes) {
    return scratch_.at_least<T>(bytes);
  }
  template <class T>
  [[nodiscard]] T* patches(std::size_t bytes) {
    return patches_.at_least<T>(bytes);
  }

  /// Pinned memory to fill and to hand to `to_device` at once. It is used again after the next
  /// synchronisation; when it is full, it waits for one, and doubles.
  template <class T>
  [[nodiscard]] T* stage(std::size_t bytes) {
    const std::size_t padded = (bytes + 63) / 64 * 64;
    if (staged_ + padded > staging_.capacity()) {
      const std::size_t before = staging_.capacity();
      synchronise();
      const std::size_t doubled = std::min(2 * before, most_staging);
      static_cast<void>(staging_.at_least<std::byte>(std::max(padded, doubled)));
    }
    std::byte* const first = staging_.at_least<std::byte>(padded) + staged_;
    staged_ += padded;
    return reinterpret_cast<T*>(first);
  }

  /// Rows of so many bytes from `stage` to the device, where they begin `pitch` bytes apart.
  void to_device(const void* from, void* to, std::size_t width, std::size_t rows,
                 std::size_t pitch) {
    if (width == 0 || rows == 0) {
      return;
    }
    work_->copy({.to = to,
                 .from = from,
                 .to_pitch = pitch,
                 .from_pitch = width,
                 .width = width,
                 .rows = rows,
                 .kind = cudaMemcpyHostToDevice});
    work_->named("upload");
  }

  /// The same from the device, waiting until it is done; the result is valid until the next call.
  template <class T>
  [[nodiscard]] const T* to_host(const void* from, std::size_t width, std::size_t rows,
                                 std::size_t pitch) {
    T* const to = received_.at_least<T>(width * rows);
    if (width > 0 && rows > 0) {
      work_->copy({.to = to,
                   .from = from,
                   .to_pitch = width,
                   .from_pitch = pitch,
                   .width = width,
                   .rows = rows,
                   .kind = cudaMemcpyDeviceToHost});
    }
    synchronise();
    return to;
  }

 private:
  static constexpr std::size_t most_staging = std::size_t{1} << 28;

  struct owned_stream {
    cudaStream_t handle = nullptr;
    owned_stream() = default;
    owned_stream(const owned_stream&) = delete;
    owned_stream& operator=(const owned_stream&) = delete;
    ~owned_stream() {
      if (handle != nullptr) {
        static_cast<void>(cudaStreamDestroy(handle));
      }
    }
  };

  owned_stream stream_;
  std::optional<sequence> work_;
  block_of<device_memory> scratch_, patches_;
  block_of<pinned_memory> staging_, received_;
  std::size_t staged_ = 0;
};

}  // namespace device
}  // namespace vierbein::backend
