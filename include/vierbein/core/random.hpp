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

  /// Standard normal, element i (Box and Muller 1958; elements 2k and 2k + 1 share two words).
  [[nodiscard]] VIERBEIN_HOST_DEVICE double normal(std::uint64_t i) const {
    const auto w = words(i / 4);
    const std::size_t pair = (i % 4) / 2 * 2;
    const double angle = angle_of(w[pair + 1]);
    return radius_of(w[pair]) * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
  }

  /// Elements 4 block ... 4 block + 3 of `normal`, the same bits for half the work.
  [[nodiscard]] std::array<double, 4> normals(std::uint64_t block) const {
    const auto w = words(block);
    const double first = radius_of(w[0]);
    const double second = radius_of(w[2]);
    const double one = angle_of(w[1]);
    const double other = angle_of(w[3]);
    return {first * std::cos(one), first * std::sin(one), second * std::cos(other),
            second * std::sin(other)};
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

 private:
  [[nodiscard]] VIERBEIN_HOST_DEVICE static double radius_of(std::uint32_t word) {
    return std::sqrt(-2.0 * std::log(1.0 - unit(word)));
  }
  [[nodiscard]] VIERBEIN_HOST_DEVICE static double angle_of(std::uint32_t word) {
    return 6.283185307179586 * unit(word);
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
