#include "vierbein/core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>
#include <vector>

using vierbein::index_t;
using vierbein::random_stream;
using words = std::array<std::uint32_t, 4>;

TEST_CASE("philox gives the known answers of its authors' Random123 library") {
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(vierbein::philox({0, 0, 0, 0}, {0, 0}) ==
        words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(vierbein::philox({ones, ones, ones, ones}, {ones, ones}) ==
        words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(vierbein::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                         {0xa4093822, 0x299f31d0}) ==
        words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox can be evaluated by the compiler") {
  static_assert(vierbein::philox({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
}

TEST_CASE("a name's hash is FNV-1a") {
  static_assert(vierbein::name_hash("") == 0xcbf29ce484222325U);
  static_assert(vierbein::name_hash("a") == 0xaf63dc4c8601ec8cU);
  static_assert(vierbein::name_hash("foobar") == 0x85944171f73967e8U);
}

TEST_CASE("an element of a stream depends on seed, stream and position alone") {
  const random_stream stream{.seed = 7, .stream = 3};
  std::vector<double> forwards;
  for (std::uint64_t i = 0; i < 100; ++i) {
    forwards.push_back(stream.normal(i));
  }
  for (std::uint64_t i = 100; i-- > 0;) {
    CHECK(random_stream{7, 3}.normal(i) == forwards[i]);
  }
  CHECK(random_stream{8, 3}.uniform(0) != stream.uniform(0));
  CHECK(random_stream{7, 4}.uniform(0) != stream.uniform(0));
  CHECK(random_stream{7 | std::uint64_t{1} << 40, 3}.uniform(0) != stream.uniform(0));
  CHECK(random_stream{7, 3 | std::uint64_t{1} << 40}.uniform(0) != stream.uniform(0));
}

TEST_CASE("four normal numbers at once are those of their elements, bit for bit") {
  const random_stream stream{7, 3};
  for (std::uint64_t block = 0; block < 1000; ++block) {
    const auto four = stream.normals(block);
    for (std::uint64_t k = 0; k < 4; ++k) {
      REQUIRE(four[k] == stream.normal(4 * block + k));
    }
  }
}

TEST_CASE("a normal number is that of its two words, to the last digits of a double") {
  double worst = 0;
  // Radius, cosine and sine; the errors of the latter two relative to 1.
  const auto check = [&](std::uint32_t radius_word, std::uint32_t angle_word) {
    const long double exact = std::sqrt(-2 * std::log(1 - radius_word * 0x1p-32L));
    const long double turn = 2 * std::numbers::pi_v<long double> * (angle_word * 0x1p-32L);
    const double radius =
        std::sqrt(vierbein::detail::squared_radius<double>(std::int64_t{radius_word}));
    double cosine = 0;
    double sine = 0;
    vierbein::detail::cosine_and_sine<double>(std::int64_t{angle_word}, cosine, sine);
    for (const long double error : {(exact - radius) / (exact > 0 ? exact : 1),
                                    std::cos(turn) - cosine, std::sin(turn) - sine}) {
      worst = std::max(worst, static_cast<double>(std::abs(error)));
    }
    return std::array{radius * cosine, radius * sine};
  };
  const random_stream stream{11, 4};
  for (std::uint64_t block = 0; block < 5000; ++block) {
    const auto w = stream.words(block);
    CHECK(check(w[0], w[1]) == std::array{stream.normal(4 * block), stream.normal(4 * block + 1)});
    CHECK(check(w[2], w[3])[1] == stream.normal(4 * block + 3));
  }
  // The ends, the borders of the quarters and those of the logarithm's intervals.
  for (const std::uint32_t at : {0U, 0x20000000U, 0x40000000U, 0x60000000U, 0x80000000U,
                                 0xa0000000U, 0xc0000000U, 0xe0000000U, 0x4afb0ccdU, 0xffffffffU}) {
    for (const std::uint32_t step : {0U, 1U, 2U, 0xffffffffU, 0xfffffffeU}) {
      check(at + step, at + step);
    }
  }
  CHECK(worst < 4e-16);
}

TEST_CASE("the ends of the unit interval") {
  CHECK(random_stream::unit(0) == 0.0);
  CHECK(random_stream::unit(0xffffffff) < 1.0);
  CHECK(random_stream::unit(0x80000000) == 0.5);
}

TEST_CASE("uniform numbers have the moments of the uniform distribution") {
  const random_stream stream{1, 0};
  const int n = 100000;
  double sum = 0;
  double square = 0;
  double neighbours = 0;
  for (int i = 0; i < n; ++i) {
    const double u = stream.uniform(static_cast<std::uint64_t>(i));
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
    square += (u - 0.5) * (u - 0.5);
    neighbours += (u - 0.5) * (stream.uniform(static_cast<std::uint64_t>(i) + 1) - 0.5);
  }
  // Five standard errors each.
  CHECK(std::abs(sum / n - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(square / n - 1.0 / 12) < 5 * std::sqrt(1.0 / 180 / n));
  CHECK(std::abs(neighbours / n) < 5 * (1.0 / 12) / std::sqrt(n));
}

TEST_CASE("normal numbers have the moments of the standard normal distribution") {
  const random_stream stream{1, 0};
  const int n = 100000;
  std::array<double, 4> moments{};
  double pairs = 0;
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal(static_cast<std::uint64_t>(i));
    REQUIRE(std::isfinite(x));
    double power = 1;
    for (double& moment : moments) {
      power *= x;
      moment += power / n;
    }
    pairs += x * stream.normal(static_cast<std::uint64_t>(i ^ 1)) / n;
  }
  CHECK(std::abs(moments[0]) < 5 * std::sqrt(1.0 / n));
  CHECK(std::abs(moments[1] - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(moments[2]) < 5 * std::sqrt(15.0 / n));
  CHECK(std::abs(moments[3] - 3) < 5 * std::sqrt(96.0 / n));
  CHECK(std::abs(pairs) < 5 * std::sqrt(2.0 / n));
}

TEST_CASE("forks differ from each other and from their origin") {
  const random_stream origin{5, 9};
  std::set<std::uint64_t> streams{origin.stream};
  for (std::uint64_t which = 0; which < 1000; ++which) {
    streams.insert(origin.fork(which).stream);
    CHECK(origin.fork(which).seed == origin.seed);
  }
  streams.insert(origin.fork(std::uint64_t{1} << 40).stream);
  CHECK(streams.size() == 1002);
  CHECK(origin.fork(4).stream == random_stream{5, 9}.fork(4).stream);
  CHECK(origin.fork(4).stream != random_stream{5, 10}.fork(4).stream);
  CHECK(origin.fork(4).stream != random_stream{6, 9}.fork(4).stream);
}

TEST_CASE("a random permutation holds every number once") {
  for (const index_t n : {index_t{0}, index_t{1}, index_t{2}, index_t{1000}}) {
    auto order = vierbein::random_permutation(n, {3, 1});
    REQUIRE(static_cast<index_t>(order.size()) == n);
    CHECK(order == vierbein::random_permutation(n, {3, 1}));
    std::sort(order.begin(), order.end());
    for (index_t i = 0; i < n; ++i) {
      CHECK(order[static_cast<std::size_t>(i)] == i);
    }
  }
  CHECK(vierbein::random_permutation(1000, {3, 1}) != vierbein::random_permutation(1000, {3, 2}));
}

TEST_CASE("all permutations of three are equally likely") {
  std::array<int, 27> count{};
  const int n = 6000;
  for (int i = 0; i < n; ++i) {
    const auto p = vierbein::random_permutation(3, {0, static_cast<std::uint64_t>(i)});
    ++count[static_cast<std::size_t>(p[0] * 9 + p[1] * 3 + p[2])];
  }
  int seen = 0;
  for (const int c : count) {
    if (c > 0) {
      ++seen;
      CHECK(std::abs(c - n / 6) < 5 * std::sqrt(n * (1.0 / 6) * (5.0 / 6)));
    }
  }
  CHECK(seen == 6);
}
