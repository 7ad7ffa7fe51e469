// Counter-based random numbers: element i of a stream is a function of (seed, stream, i) alone, so
// the numbers do not depend on how many threads draw them, nor in which order, nor on which device.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

#include "vierbein/core/types.hpp"

namespace vierbein {

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): four random words from a counter and a key.
VIERBEIN_HOST_DEVICE constexpr std::array<std::uint32_t, 4> philox(
    std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// A stable 64-bit hash of a name (FNV-1a), to give every parameter its own stream.
constexpr std::uint64_t name_hash(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return hash;
}

namespace detail {

// What follows is written for one number and for a register of numbers alike: V are numbers
// (double), I as many integers (64 bits). No sum has two products in it, so that compilers which
// fuse multiplications and additions have one way to do so, and both give the same bits.

/// c + z (next + z (...))
template <class V>
VIERBEIN_HOST_DEVICE inline V polynomial(const V& z, double c, double next) {
  return c + z * next;
}
template <class V, class... Rest>
VIERBEIN_HOST_DEVICE inline V polynomial(const V& z, double c, double next, Rest... rest) {
  return c + z * polynomial(z, next, rest...);
}

/// Integers of less than 51 bits as numbers.
template <class V, class I>
VIERBEIN_HOST_DEVICE inline V to_number(const I& i) {
  return std::bit_cast<V>(i + std::int64_t{0x4338000000000000}) - 0x1.8p52;
}

/// -2 log(1 - w / 2³²) for words w, by log m = f - s (f - s² P(s²)), f = m - 1, s = f / (2 + f),
/// with the coefficients of FreeBSD's msun (Sun Microsystems 1993).
template <class V, class I>
VIERBEIN_HOST_DEVICE inline V squared_radius(const I& word) {
  constexpr std::int64_t root_of_half = 0x3fe6a09e667f3bcd;
  const V a = 1.0 - to_number<V>(word) * 0x1p-32;
  const I bits = std::bit_cast<I>(a);
  const I exponent = (bits - root_of_half) >> 52;  // a = m 2^exponent, m in [√½, √2)
  const V f = std::bit_cast<V>(bits - (exponent << 52)) - 1.0;
  const V s = f / (2.0 + f);
  const V z = s * s;
  const V p =
      polynomial(z, 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                 1.479819860511658591e-01);
  const V rest = f - z * p;
  const V small = f - s * rest;
  const V log = small + to_number<V>(exponent) * 0.69314718055994530942;
  return -2.0 * log;
}

/// Cosine and sine of 2π w / 2³² for words w: w less the nearest quarter of a turn is exact.
template <class V, class I>
VIERBEIN_HOST_DEVICE inline void cosine_and_sine(const I& word, V& cosine, V& sine) {
  const I quarter = (word + (std::int64_t{1} << 29)) >> 30;
  const V x = to_number<V>(word - (quarter << 30)) * (6.283185307179586477 * 0x1p-32);
  const V z = x * x;
  const V cube = x * z;
  const V square = z * z;
  const V s = x + cube * polynomial(z, -1.66666666666666324348e-01, 8.33333333332248946124e-03,
                                    -1.98412698298579493134e-04, 2.75573137070700676789e-06,
                                    -2.50507602534068634195e-08, 1.58969099521155010221e-10);
  const V first = 1.0 - 0.5 * z;
  const V c =
      first + square * polynomial(z, 4.16666666666666019037e-02, -1.38888888888741095749e-03,
                                  2.48015872894767294178e-05, -2.75573143513906633035e-07,
                                  2.08757232129817482790e-09, -1.13596475577881948265e-11);
  const V one = (quarter & 1) != 0 ? s : c;
  const V other = (quarter & 1) != 0 ? c : s;
  cosine = ((quarter + 1) & 2) != 0 ? -one : one;
  sine = (quarter & 2) != 0 ? -other : other;
}

}  // namespace detail

/// One stream of random numbers. Copyable, stateless: the i-th number is always the same.
struct random_stream {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  /// Four random words at position `block`.
  [[nodiscard]] VIERBEIN_HOST_DEVICE constexpr std::array<std::uint32_t, 4> words(
      std::uint64_t block) const {
    return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                  {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  }

  /// Uniform on [0, 1), element i.
  [[nodiscard]] VIERBEIN_HOST_DEVICE constexpr double uniform(std::uint64_t i) const {
    return unit(words(i / 4)[i % 4]);
  }

  /// Standard normal, element i (Box and Muller 1958; elements 2k and 2k + 1 share two words). It
  /// is computed here, not by the system's logarithm and cosine, so that it is the same everywhere.
  [[nodiscard]] VIERBEIN_HOST_DEVICE double normal(std::uint64_t i) const {
    const auto w = words(i / 4);
    const std::size_t pair = (i % 4) / 2 * 2;
    double cosine = 0;
    double sine = 0;
    detail::cosine_and_sine<double>(std::int64_t{w[pair + 1]}, cosine, sine);
    const double radius = std::sqrt(detail::squared_radius<double>(std::int64_t{w[pair]}));
    return radius * (i % 2 == 0 ? cosine : sine);
  }

  /// Elements 4 block ... 4 block + 3 of `normal`, the same bits for half the work.
  [[nodiscard]] std::array<double, 4> normals(std::uint64_t block) const {
    const auto w = words(block);
    std::array<double, 4> numbers{};
    for (std::size_t pair = 0; pair < 4; pair += 2) {
      detail::cosine_and_sine<double>(std::int64_t{w[pair + 1]}, numbers[pair], numbers[pair + 1]);
      const double radius = std::sqrt(detail::squared_radius<double>(std::int64_t{w[pair]}));
      numbers[pair] *= radius;
      numbers[pair + 1] *= radius;
    }
    return numbers;
  }

  /// A further stream that depends on this one and on a number (a step, a task, an epoch).
  [[nodiscard]] constexpr random_stream fork(std::uint64_t which) const {
    const auto w = philox(
        {static_cast<std::uint32_t>(which), static_cast<std::uint32_t>(which >> 32),
         static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
        {static_cast<std::uint32_t>(seed) ^ 0x85EBCA6BU, static_cast<std::uint32_t>(seed >> 32)});
    return {seed, (std::uint64_t{w[0]} << 32) | w[1]};
  }

  /// A 32-bit word as a number in [0, 1).
  [[nodiscard]] VIERBEIN_HOST_DEVICE static constexpr double unit(std::uint32_t word) {
    return word * 0x1p-32;
  }
};

/// A uniformly random order of 0 ... n-1 (Fisher and Yates 1938, in Durstenfeld's form).
inline std::vector<index_t> random_permutation(index_t n, const random_stream& stream) {
  std::vector<index_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), index_t{0});
  for (index_t i = n - 1; i > 0; --i) {
    const auto u = stream.uniform(static_cast<std::uint64_t>(i));
    const auto j = static_cast<index_t>(u * static_cast<double>(i + 1));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
  }
  return order;
}

}  // namespace vierbein
