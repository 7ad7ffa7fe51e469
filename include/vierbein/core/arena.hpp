// A bump allocator: a training step takes its memory here and gives all of it back at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein {

/// Every block and every allocation begins at a multiple of this: a cache line and a 512-bit
/// register.
inline constexpr std::size_t alignment_bytes = 64;

/// Host memory, aligned. `Memory` in `arena` and in the backends has this shape: it throws `error`
/// when there is none.
struct host_memory {
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    void* const block = ::operator new(bytes, std::align_val_t{alignment_bytes}, std::nothrow);
    require(block != nullptr, "memory", "the system does not give the {:.1f} MB asked for",
            static_cast<double>(bytes) / 1e6);
    return block;
  }
  static void deallocate(void* block) noexcept {
    ::operator delete(block, std::align_val_t{alignment_bytes});
  }
};

/// Hands out 64-byte-aligned memory and takes it back all at once by `reset()`. When one step
/// needed several blocks, `reset()` replaces them by a single one with a quarter to spare, so that
/// a step of the same or a slightly larger size allocates nothing. A step that takes more than
/// `limit()` is refused.
///
/// Consecutive large allocations are set apart by a cache line, so that matrices whose size is a
/// power of two do not begin at the same offset of a page (4 KiB aliasing).
template <class Memory = host_memory>
class arena {
 public:
  arena() = default;
  explicit arena(Memory memory) : memory_(std::move(memory)) {}
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;
  arena(arena&& other) noexcept
      : memory_(other.memory_),
        blocks_(std::exchange(other.blocks_, {})),
        used_(std::exchange(other.used_, 0)),
        taken_(std::exchange(other.taken_, 0)),
        most_taken_(std::exchange(other.most_taken_, 0)),
        limit_(other.limit_) {}
  arena& operator=(arena&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(blocks_, other.blocks_);
    std::swap(used_, other.used_);
    std::swap(taken_, other.taken_);
    std::swap(most_taken_, other.most_taken_);
    std::swap(limit_, other.limit_);
    return *this;
  }
  ~arena() { release(); }

  /// Uninitialised memory for `count` objects of a type that needs no destructor.
  template <class T>
    requires std::is_trivially_destructible_v<T>
  [[nodiscard]] T* allocate(index_t count) {
    return static_cast<T*>(allocate_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }

  /// The same as a span of value-initialised objects; host memory only.
  template <class T>
    requires std::is_same_v<Memory, host_memory>
  [[nodiscard]] std::span<T> make_span(index_t count) {
    T* first = allocate<T>(count);
    for (index_t i = 0; i < count; ++i) {
      new (first + i) T();
    }
    return {first, static_cast<std::size_t>(count)};
  }

  /// Gives everything back; memory stays reserved for the next step.
  void reset() {
    most_taken_ = most_taken();
    if (blocks_.size() > 1) {
      const std::size_t wanted = taken_ + taken_ / 4;
      release();
      add_block(std::min(wanted, limit_));
    }
    used_ = 0;
    taken_ = 0;
  }

  /// The most bytes that may be taken until the next `reset`; no limit at first.
  void limit(std::size_t bytes) { limit_ = bytes; }

  /// Bytes taken since the last `reset`, and the most between any two of them.
  [[nodiscard]] std::size_t taken() const { return taken_; }
  [[nodiscard]] std::size_t most_taken() const { return std::max(most_taken_, taken_); }

  /// Bytes reserved.
  [[nodiscard]] std::size_t capacity() const {
    std::size_t total = 0;
    for (const block& b : blocks_) {
      total += b.bytes;
    }
    return total;
  }

 private:
  struct block {
    std::byte* data;
    std::size_t bytes;
  };

  static constexpr std::size_t smallest_block = std::size_t{1} << 16;
  static constexpr std::size_t page = 4096;

  void* allocate_bytes(std::size_t bytes) {
    std::size_t padded = (bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
    if (padded >= page) {
      padded += alignment_bytes;
    }
    require(padded <= limit_ - std::min(limit_, taken_), "memory",
            "a step needs more than the {} bytes that it may take: {} are taken, and then {} asked "
            "for; a smaller batch takes less",
            limit_, taken_, padded);
    if (blocks_.empty() || used_ + padded > blocks_.back().bytes) {
      const std::size_t wanted = blocks_.empty() ? smallest_block : capacity();
      add_block(std::max(wanted, padded));
      used_ = 0;
    }
    void* result = blocks_.back().data + used_;
    used_ += padded;
    taken_ += padded;
    return result;
  }

  void add_block(std::size_t bytes) {
    blocks_.push_back({static_cast<std::byte*>(memory_.allocate(bytes)), bytes});
  }

  void release() noexcept {
    for (const block& b : blocks_) {
      memory_.deallocate(b.data);
    }
    blocks_.clear();
  }

  [[no_unique_address]] Memory memory_{};
  std::vector<block> blocks_;
  std::size_t used_ = 0;   // bytes taken from the last block
  std::size_t taken_ = 0;  // from all of them
  std::size_t most_taken_ = 0;
  std::size_t limit_ = std::numeric_limits<std::size_t>::max();
};

/// A growable array of scalars whose first element is aligned to 64 bytes: std::vector with this
/// allocator.
template <class T>
struct aligned_allocator {
  using value_type = T;
  aligned_allocator() = default;
  template <class U>
  aligned_allocator(const aligned_allocator<U>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t count) {
    return static_cast<T*>(host_memory::allocate(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t) noexcept { host_memory::deallocate(block); }
  template <class U>
  bool operator==(const aligned_allocator<U>&) const {
    return true;
  }
};

template <class T>
using aligned_vector = std::vector<T, aligned_allocator<T>>;

}  // namespace vierbein
