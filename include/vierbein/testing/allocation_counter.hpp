// Counts the allocations of a test program, so that a test can demand that a step makes none.
//
// This header replaces malloc and its relatives for the whole program: include it in exactly one
// translation unit of a program, and in no library. `operator new` ends in malloc and is counted
// with it, as are the allocations of C libraries; counting `operator new` alone would miss those.
//
// Counting needs glibc and is off under the address, thread and memory sanitizers, which bring a
// malloc of their own: `allocation_counter::count()` is empty there.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "vierbein/testing/allocation_tally.hpp"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VIERBEIN_COUNTS_ALLOCATIONS 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#undef VIERBEIN_COUNTS_ALLOCATIONS
#endif
#endif
// Clang's own header declares posix_memalign once more and must do so before it is defined here.
#if defined(VIERBEIN_COUNTS_ALLOCATIONS) && defined(__SSE__) && __has_include(<mm_malloc.h>)
#include <mm_malloc.h>
#endif

namespace vierbein::testing {

/// Counts the allocations of all threads since it was made or since `reset()`.
///
///     allocation_counter counter;
///     step();
///     if (const auto count = counter.count()) {
///       CHECK(*count == 0);
///     } else {
///       MESSAGE("allocations are not counted in this build");
///     }
class allocation_counter {
 public:
  /// True when this build counts.
#if defined(VIERBEIN_COUNTS_ALLOCATIONS)
  static constexpr bool counts = true;
#else
  static constexpr bool counts = false;
#endif

  allocation_counter() { reset(); }

  /// Begins to count anew.
  void reset() { start_ = detail::allocations.load(); }

  /// Calls of malloc, calloc, realloc, aligned_alloc, posix_memalign and memalign; nothing when
  /// this build does not count.
  [[nodiscard]] std::optional<std::uint64_t> count() const {
    if constexpr (counts) {
      return detail::allocations.load() - start_;
    } else {
      return std::nullopt;
    }
  }

 private:
  std::uint64_t start_ = 0;
};

}  // namespace vierbein::testing

#if defined(VIERBEIN_COUNTS_ALLOCATIONS)

extern "C" {

void* __libc_malloc(std::size_t bytes);                           // NOLINT(bugprone-reserved-*)
void* __libc_calloc(std::size_t count, std::size_t bytes);        // NOLINT(bugprone-reserved-*)
void* __libc_realloc(void* block, std::size_t bytes);             // NOLINT(bugprone-reserved-*)
void* __libc_memalign(std::size_t alignment, std::size_t bytes);  // NOLINT(bugprone-reserved-*)

void* malloc(std::size_t bytes) noexcept {
  vierbein::testing::detail::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}

void* calloc(std::size_t count, std::size_t bytes) noexcept {
  vierbein::testing::detail::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, bytes);
}

void* realloc(void* block, std::size_t bytes) noexcept {
  vierbein::testing::detail::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(block, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  vierbein::testing::detail::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return memalign(alignment, bytes);
}

int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) noexcept {
  if (alignment % sizeof(void*) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) {
    return EINVAL;
  }
  void* const found = memalign(alignment, bytes);
  if (found == nullptr) {
    return ENOMEM;
  }
  *block = found;
  return 0;
}

}  // extern "C"

#endif
