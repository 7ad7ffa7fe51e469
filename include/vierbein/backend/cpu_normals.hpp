// Normal random numbers by whole registers, for the CPU backend.
#pragma once

#include <cstdint>
#include <cstring>

#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/random.hpp"

namespace vierbein::backend::detail {

/// Blocks of random words, each for four normal numbers, that are computed together: several
/// registers, so that one does not wait for the other.
inline constexpr index_t normal_blocks = 4 * lanes<double>;

/// words[j][b] is word j of block first + b.
inline void words_of_blocks(const random_stream& stream, std::uint64_t first,
                            std::uint32_t (&words)[4][normal_blocks]) {
  for (index_t b = 0; b < normal_blocks; ++b) {
    const auto w = stream.words(first + static_cast<std::uint64_t>(b));
    for (std::size_t j = 0; j < 4; ++j) {
      words[j][b] = w[j];
    }
  }
}

/// Elements 4 first ... 4 (first + normal_blocks) - 1 of stream.normal, the same bits.
[[gnu::noinline]] VIERBEIN_WHOLE_REGISTERS inline void normals_of_blocks(
    const random_stream& stream, std::uint64_t first, double* to) {
  using numbers = lanes_of<double>;
  using integers = lanes_of<std::int64_t>;
  constexpr index_t n = lanes<double>;
  std::uint32_t words[4][normal_blocks];
  words_of_blocks(stream, first, words);
  for (index_t block = 0; block < normal_blocks; block += n) {
    for (index_t pair = 0; pair < 4; pair += 2) {
      integers radius_word;
      integers angle_word;
      for (index_t b = 0; b < n; ++b) {
        radius_word[b] = words[pair][block + b];
        angle_word[b] = words[pair + 1][block + b];
      }
      numbers radius = vierbein::detail::squared_radius<numbers>(radius_word);
      take_root<double>(radius);
      numbers cosine;
      numbers sine;
      vierbein::detail::cosine_and_sine<numbers>(angle_word, cosine, sine);
      cosine *= radius;
      sine *= radius;
      for (index_t b = 0; b < n; ++b) {
        to[4 * (block + b) + pair] = cosine[b];
        to[4 * (block + b) + pair + 1] = sine[b];
      }
    }
  }
}

}  // namespace vierbein::backend::detail
