// The number that testing/allocation_counter.hpp counts into, for code that may read it in any
// translation unit.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace vierbein::testing::detail {

inline constinit std::atomic<std::uint64_t> allocations{0};

/// Whether this program counts: one of its translation units includes the counter, and the build is
/// one that can.
inline bool allocations_are_counted() {
  const std::uint64_t before = allocations.load();
  void* volatile block = std::malloc(1);  // NOLINT(cppcoreguidelines-no-malloc)
  std::free(block);                       // NOLINT(cppcoreguidelines-no-malloc)
  return allocations.load() != before;
}

}  // namespace vierbein::testing::detail
