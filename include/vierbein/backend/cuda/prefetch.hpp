// Copies to the device what the next step will upload, while the device computes: by a second
// stream.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <vector>

#include "vierbein/backend/cuda/check.hpp"
#include "vierbein/backend/cuda/memory.hpp"

namespace vierbein::backend::device {

/// What is announced is converted, packed and copied to the device at once, into one of two blocks
/// in turn; an upload from the same address then takes it from there. Between two announcements
/// host code must wait for the device once, so that nothing is read from a block any more when its
/// turn comes.
class prefetcher {
 public:
  prefetcher() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), creating); }
  prefetcher(const prefetcher&) = delete;
  prefetcher& operator=(const prefetcher&) = delete;
  ~prefetcher() {
    static_cast<void>(cudaStreamSynchronize(stream_));
    for (const slot& s : slots_) {
      if (s.arrived != nullptr) {
        static_cast<void>(cudaEventDestroy(s.arrived));
      }
    }
    static_cast<void>(cudaStreamDestroy(stream_));
  }

  /// An array of host memory: `pack(from, count, to)` writes it as the device is to find it, in so
  /// many bytes.
  struct array {
    const void* from;
    std::size_t count;
    std::size_t bytes;
    void (*pack)(const void* from, std::size_t count, void* to);
    std::size_t offset = 0;
  };

  /// Adds one to those that `start` copies.
  void announce(const array& a) {
    if (a.bytes > 0) {
      announced_.push_back(a);
      announced_.back().offset = bytes_;
      bytes_ += (a.bytes + 255) / 256 * 256;
    }
  }

  /// Begins to copy what was announced; what was copied before is forgotten. The arrays may be
  /// overwritten when this returns, but an upload then finds the old values.
  void start() {
    copied_.clear();
    if (announced_.empty()) {
      return;
    }
    turn_ = 1 - turn_;
    slot& s = slots_[turn_];
    if (s.arrived == nullptr) {
      check(cudaEventCreateWithFlags(&s.arrived, cudaEventDisableTiming),
            "cudaEventCreateWithFlags");
    }
    // The host has waited for the main stream since; the copy itself may never have been asked for.
    check(cudaEventSynchronize(s.arrived), "cudaEventSynchronize", "prefetch");
    auto* const packed = s.packed.at_least<std::byte>(bytes_);
    auto* const landing = s.landing.at_least<std::byte>(bytes_);
    for (const array& a : announced_) {
      a.pack(a.from, a.count, packed + a.offset);
    }
    check(cudaMemcpyAsync(landing, packed, bytes_, cudaMemcpyHostToDevice, stream_),
          "cudaMemcpyAsync", "prefetch");
    check(cudaEventRecord(s.arrived, stream_), "cudaEventRecord", "prefetch");
    std::swap(copied_, announced_);
    announced_.clear();
    bytes_ = 0;
    awaited_ = false;
  }

  /// Where an array of so many bytes has been, or is being copied to: null when it was not
  /// announced. `wait(event)` is called before the first use.
  template <class Wait>
  [[nodiscard]] const void* find(const void* from, std::size_t bytes, Wait&& wait) {
    for (const array& a : copied_) {
      if (a.from == from && a.bytes == bytes) {
        slot& s = slots_[turn_];
        if (!awaited_) {
          wait(s.arrived);
          awaited_ = true;
        }
        return s.landing.at_least<std::byte>(0) + a.offset;
      }
    }
    return nullptr;
  }

  [[nodiscard]] std::size_t size() const { return copied_.size(); }

  /// Forgets what was copied and announced.
  void forget() {
    copied_.clear();
    announced_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr const char* creating = "cudaStreamCreateWithFlags";

  struct slot {
    block_of<pinned_memory> packed;
    block_of<device_memory> landing;
    cudaEvent_t arrived = nullptr;
  };

  cudaStream_t stream_ = nullptr;
  std::array<slot, 2> slots_;
  std::size_t turn_ = 0;
  std::vector<array> announced_, copied_;
  std::size_t bytes_ = 0;
  bool awaited_ = false;
};

}  // namespace vierbein::backend::device
