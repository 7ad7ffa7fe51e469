// What the operations of a CUDA backend share: a stream, scratch memory, transfers.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include "vierbein/backend/cuda/check.hpp"
#include "vierbein/backend/cuda/memory.hpp"
#include "vierbein/backend/cuda/prefetch.hpp"
#include "vierbein/backend/cuda/sequence.hpp"

namespace vierbein::backend::device {

/// A stream of one device, what is to be put on it, and the memory that its operations share.
/// Everything goes through the one stream, so that one operation's scratch memory may be the next
/// one's.
class context {
 public:
  context(int device, bool replay) {
    select(device);
    check(cudaStreamCreateWithFlags(&stream_.handle, cudaStreamNonBlocking),
          "cudaStreamCreateWithFlags");
    work_.emplace(device, stream_.handle, replay);
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
    const cudaError_t code = work_->finish();
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

  /// Rows of so many bytes from `stage`, or from the device, to the device, where they begin
  /// `pitch` bytes apart.
  void to_device(const void* from, void* to, std::size_t width, std::size_t rows, std::size_t pitch,
                 cudaMemcpyKind kind = cudaMemcpyHostToDevice) {
    if (width == 0 || rows == 0) {
      return;
    }
    work_->copy({.to = to,
                 .from = from,
                 .to_pitch = pitch,
                 .from_pitch = width,
                 .width = width,
                 .rows = rows,
                 .kind = kind});
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

  /// Where an array of the host lies on the device, if it was prefetched; else null.
  [[nodiscard]] const void* prefetched(const void* from, std::size_t bytes) {
    return ahead_ ? ahead_->find(from, bytes,
                                 [this](cudaEvent_t arrived) {
                                   work_->launch();
                                   check(cudaStreamWaitEvent(stream_.handle, arrived, 0),
                                         "cudaStreamWaitEvent", "upload");
                                 })
                  : nullptr;
  }
  /// The second stream, made when it is first asked for.
  [[nodiscard]] prefetcher& ahead() {
    if (!ahead_) {
      ahead_.emplace();
    }
    return *ahead_;
  }
  /// How many arrays were prefetched and not forgotten.
  [[nodiscard]] std::size_t prefetched() const { return ahead_ ? ahead_->size() : 0; }
  void forget_prefetched() {
    if (ahead_) {
      ahead_->forget();
    }
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
  std::optional<prefetcher> ahead_;
  std::size_t staged_ = 0;
};

}  // namespace vierbein::backend::device
