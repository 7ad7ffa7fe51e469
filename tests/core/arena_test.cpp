#include "vierbein/core/arena.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

using vierbein::alignment_bytes;
using vierbein::arena;
using vierbein::index_t;

// ASan ends the program when the system gives no memory.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VIERBEIN_ADDRESS_SANITIZER
#endif
#endif

namespace {

// Host memory that counts the blocks it has given out.
struct counted_memory {
  int* live;
  int* total;
  void* allocate(std::size_t bytes) {
    ++*live;
    ++*total;
    return vierbein::host_memory::allocate(bytes);
  }
  void deallocate(void* block) noexcept {
    --*live;
    vierbein::host_memory::deallocate(block);
  }
};

std::uintptr_t address(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p);
}

}  // namespace

TEST_CASE("every allocation is aligned and overlaps no other") {
  arena<> memory;
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> taken;
  for (index_t i = 0; i < 300; ++i) {
    const index_t count = i * 37 % 2000;
    const auto begin = address(memory.allocate<float>(count));
    const auto end = begin + static_cast<std::size_t>(count) * sizeof(float);
    CHECK(begin % alignment_bytes == 0);
    for (const auto& [other_begin, other_end] : taken) {
      REQUIRE((end <= other_begin || begin >= other_end));
    }
    taken.emplace_back(begin, end);
  }
}

TEST_CASE("the memory of an allocation can be written to its last byte") {
  arena<> memory;
  for (const index_t count : {1, 15, 16, 17, 1023, 1024, 1025, 16384, 100000}) {
    char* const first = memory.allocate<char>(count);
    std::fill_n(first, count, static_cast<char>(count));
    CHECK(first[count - 1] == static_cast<char>(count));
  }
}

TEST_CASE("a step of the same size allocates nothing") {
  int live = 0;
  int total = 0;
  {
    arena<counted_memory> memory{counted_memory{&live, &total}};
    const auto step = [&] {
      memory.reset();
      for (int i = 0; i < 200; ++i) {
        static_cast<void>(memory.allocate<double>(1000));
      }
    };
    step();
    CHECK(total > 1);  // the first step needs several blocks
    step();
    const int settled = total;
    CHECK(live == 1);  // which reset() has replaced by one
    for (int i = 0; i < 10; ++i) {
      step();
    }
    CHECK(total == settled);
  }
  CHECK(live == 0);
}

TEST_CASE("after a reset the same memory is handed out again") {
  arena<> memory;
  const void* const first = memory.allocate<int>(100);
  const std::size_t capacity = memory.capacity();
  memory.reset();
  CHECK(memory.allocate<int>(100) == first);
  CHECK(memory.capacity() == capacity);
}

TEST_CASE("what is taken is counted, and no more than the limit is given") {
  arena<> memory;
  memory.limit(100 * 64);
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < 100; ++i) {
      static_cast<void>(memory.allocate<char>(33));  // a cache line each
    }
    CHECK(memory.taken() == 100 * 64);
    CHECK_THROWS_WITH_AS(
        static_cast<void>(memory.allocate<char>(1)),
        "memory: a step needs more than the 6400 bytes that it may take: 6400 are taken, and then "
        "64 asked for; a smaller batch takes less",
        vierbein::error);
    memory.reset();
    CHECK(memory.taken() == 0);
  }
}

TEST_CASE("after a reset no more is reserved than was taken and a quarter") {
  arena<> memory;
  for (int i = 0; i < 10; ++i) {  // every one in a block of its own
    static_cast<void>(memory.allocate<char>(1 << (16 + i)));
  }
  const std::size_t taken = memory.taken();
  memory.reset();
  CHECK(memory.capacity() == taken + taken / 4);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(VIERBEIN_ADDRESS_SANITIZER)
TEST_CASE("memory that the system does not give is refused in one sentence") {
  CHECK_THROWS_WITH_AS(static_cast<void>(vierbein::host_memory::allocate(std::size_t{1} << 62)),
                       "memory: the system does not give the 4611686018427.4 MB asked for",
                       vierbein::error);
}
#endif

TEST_CASE("large neighbours do not begin at the same offset of a page") {
  arena<> memory;
  memory.reset();
  static_cast<void>(memory.allocate<char>(1 << 20));
  memory.reset();
  const auto a = address(memory.allocate<char>(4096));
  const auto b = address(memory.allocate<char>(4096));
  CHECK(a % 4096 != b % 4096);
}

TEST_CASE("a moved arena takes its memory along") {
  int live = 0;
  int total = 0;
  {
    arena<counted_memory> first{counted_memory{&live, &total}};
    int* const value = first.allocate<int>(1);
    *value = 42;
    arena<counted_memory> second{std::move(first)};
    CHECK(*value == 42);
    CHECK(live == 1);
    arena<counted_memory> third{counted_memory{&live, &total}};
    static_cast<void>(third.allocate<int>(1));
    third = std::move(second);
    CHECK(*value == 42);
    CHECK(third.capacity() > 0);
  }
  CHECK(live == 0);
}

TEST_CASE("a span from an arena is set to zero, also in used memory") {
  arena<> memory;
  for (double& x : memory.make_span<double>(500)) {
    x = 3;
  }
  memory.reset();
  for (const double x : memory.make_span<double>(500)) {
    CHECK(x == 0);
  }
}

TEST_CASE("an aligned vector begins at a cache line") {
  for (const std::size_t n : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
    const vierbein::aligned_vector<float> v(n, 1.0F);
    CHECK(address(v.data()) % alignment_bytes == 0);
  }
}
