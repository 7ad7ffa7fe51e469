#include "vierbein/testing/allocation_counter.hpp"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "vierbein/core/arena.hpp"

using vierbein::testing::allocation_counter;

namespace {

// What `f` allocates; the pointers that it returns are freed.
template <class F>
void check_count(std::uint64_t expected, F&& f) {
  const allocation_counter counter;
  void* volatile block = f();
  const auto count = counter.count();
  std::free(block);  // NOLINT(cppcoreguidelines-no-malloc)
  if (allocation_counter::counts) {
    REQUIRE(count.has_value());
    CHECK(*count == expected);
  } else {
    CHECK(!count.has_value());
  }
}

}  // namespace

TEST_CASE("every way to allocate is counted once") {
  check_count(0, [] { return static_cast<void*>(nullptr); });
  check_count(1, [] { return std::malloc(100); });
  check_count(1, [] { return std::calloc(10, 10); });
  check_count(1, [] { return std::aligned_alloc(64, 128); });
  check_count(2, [] { return std::realloc(std::malloc(10), 100000); });
  check_count(1, [] {
    void* block = nullptr;
    const int status = posix_memalign(&block, 64, 100);
    return status == 0 ? block : nullptr;
  });
}

TEST_CASE("what is allocated is usable") {
  auto* zeros = static_cast<char*>(std::calloc(100, 100));
  for (int i = 0; i < 10000; ++i) {
    REQUIRE(zeros[i] == 0);
  }
  zeros[9999] = 7;
  auto* longer = static_cast<char*>(std::realloc(zeros, 1000000));
  CHECK(longer[9999] == 7);
  std::free(longer);
  void* aligned = nullptr;
  REQUIRE(posix_memalign(&aligned, 4096, 10) == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(aligned) % 4096 == 0);
  std::free(aligned);
  if (allocation_counter::counts) {  // a sanitizer would abort
    volatile std::size_t odd = 3;
    CHECK(posix_memalign(&aligned, odd, 10) == EINVAL);
  }
}

TEST_CASE("operator new and containers are counted, on every thread") {
  if (!allocation_counter::counts) {
    MESSAGE("allocations are not counted in this build");
    return;
  }
  allocation_counter counter;
  auto* volatile number = new int(5);
  CHECK(counter.count() == 1);
  delete number;
  CHECK(counter.count() == 1);
  counter.reset();
  std::vector<double> numbers(1000);
  vierbein::aligned_vector<float> aligned(1000);
  volatile double kept = numbers[7] + static_cast<double>(aligned[7]);
  CHECK(kept == 0);
  CHECK(counter.count() == 2);
  numbers.clear();
  numbers.resize(1000);  // in the memory it has
  CHECK(counter.count() == 2);
  counter.reset();
  std::uint64_t of_thread = 0;
  std::thread([&] {
    const allocation_counter mine;
    auto* volatile block = new double[50];
    of_thread = mine.count().value();
    delete[] block;
  }).join();
  CHECK(of_thread == 1);
  CHECK(counter.count().value() >= 2);
}
