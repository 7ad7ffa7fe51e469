// Products in bfloat16 (8 significant bits), summed in float: `basic_cpu<float, engine::bf16<>>`.
// Processors that have units for it (AMX, AVX512-BF16) multiply such numbers several times faster
// than floats; on others the engine gives the same to within the rounding of sums, and is slower.
//
// Both operands are cut into blocks that stay in the L2 cache and are copied into tiles
// (bf16_units.hpp), rounded on the way. C is computed 32 x 32 at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <type_traits>
#include <utility>

#include "vierbein/backend/engine/bf16_units.hpp"
#include "vierbein/backend/engine/concept.hpp"
#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend::engine {

namespace detail::bf16 {

using backend::detail::at;
using backend::detail::lanes;
using floats = backend::detail::lanes_of<float>;
using words = backend::detail::lanes_of<word>;

/// Numbers 2i and 2i + 1 of x and y, one behind the other, as two registers.
template <int... I>
inline void deinterleave(const floats& x, const floats& y, floats& even, floats& odd,
                         std::integer_sequence<int, I...>) {
  even = __builtin_shufflevector(x, y, 2 * I...);
  odd = __builtin_shufflevector(x, y, (2 * I + 1)...);
}

/// Numbers rounded to the nearest bfloat16, to an even one in the middle; in upper halves.
inline words rounded(const floats& x) {
  const words u = reinterpret_cast<words>(x);
  const words nearest = u + 0x7fffU + (u >> 16 & 1U);
  const auto not_a_number = (u & 0x7fff'ffffU) > 0x7f80'0000U;  // would round to something else
  return not_a_number ? u | 0x40'0000U : nearest;
}

/// Words of rounded numbers.
VIERBEIN_WHOLE_REGISTERS inline words paired(const floats& even, const floats& odd) {
#if defined(__AVX512BF16__)
  constexpr auto interleaved = [] {
    struct {
      alignas(64) std::uint16_t number[2 * side];
    } order{};
    for (std::uint16_t i = 0; i < 2 * side; ++i) {
      order.number[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * side);
    }
    return order;
  }();
  const __m512bh both =
      _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(odd), reinterpret_cast<__m512>(even));
  return reinterpret_cast<words>(_mm512_permutexvar_epi16(_mm512_load_si512(interleaved.number),
                                                          reinterpret_cast<__m512i>(both)));
#else
  return rounded(even) >> 16 | (rounded(odd) & upper_half);
#endif
}

/// Tiles of the parts of x, 16 x 32 (`Along`: the depth is along a row) or 32 x 16, one behind the
/// other; transposed, words are exchanged across the diagonal.
template <bool Along, bool Transposed, int Parts>
VIERBEIN_WHOLE_REGISTERS inline void pack_tile(const float* x, index_t stride, word* to) {
  constexpr index_t n = lanes<float>;
  alignas(64) word turned[Transposed ? Parts * tile : 1];
  word* const rows = Transposed ? turned : to;
  for (index_t i = 0; i < side; ++i) {
    for (index_t j = 0; j < side; j += n) {
      floats even;
      floats odd;
      if constexpr (Along) {
        const float* const pair = x + i * stride + 2 * j;
        const floats first = at(pair);
        const floats second = at(pair + n);
        deinterleave(first, second, even, odd,
                     std::make_integer_sequence<int, static_cast<int>(n)>{});
      } else {
        even = at(x + 2 * i * stride + j);
        odd = at(x + (2 * i + 1) * stride + j);
      }
      for (int p = 0; p < Parts; ++p) {
        const words w = paired(even, odd);
        at(rows + p * tile + i * side + j) = w;
        even -= reinterpret_cast<floats>(static_cast<words>(w << 16));
        odd -= reinterpret_cast<floats>(static_cast<words>(w & upper_half));
      }
    }
  }
  for (index_t i = 0; Transposed && i < Parts * side; i += n) {  // whole words, whatever they say
    for (index_t j = 0; j < side; j += n) {
      const index_t part = i / side * tile;
      backend::detail::transpose_square(
          reinterpret_cast<const float*>(turned) + i * side + j, side, n,
          reinterpret_cast<float*>(to + part) + j * side + i % side, side);
    }
  }
}

/// Tiles of `lines` rows of A, or columns of B, in the order that bf16_units.hpp tells. x is
/// (lines, depth) if `Along`, else (depth, lines); what is missing counts as 0.
template <bool Along, bool Transposed, int Parts>
[[gnu::noinline]] void pack(const float* x, index_t stride, index_t lines, index_t depth,
                            word* to) {
  constexpr index_t tile_rows = Along ? side : tile_depth;
  constexpr index_t tile_cols = Along ? tile_depth : side;
  for (index_t group = 0; group < lines; group += square) {
    const index_t end = std::min(lines, group + square);
    for (index_t k = 0; k < depth; k += tile_depth) {
      for (index_t l = group; l < end; l += side) {
        const index_t rows = std::min(tile_rows, Along ? lines - l : depth - k);
        const index_t cols = std::min(tile_cols, Along ? depth - k : lines - l);
        const float* const from = x + (Along ? l * stride + k : k * stride + l);
        if (rows == tile_rows && cols == tile_cols) {
          pack_tile<Along, Transposed, Parts>(from, stride, to);
        } else {
          float whole[tile_rows * tile_cols] = {};
          for (index_t r = 0; r < rows; ++r) {
            std::copy_n(from + r * stride, cols, whole + r * tile_cols);
          }
          pack_tile<Along, Transposed, Parts>(whole, tile_cols, to);
        }
        to += Parts * tile;
      }
    }
  }
}

/// C = S + sums, and max(·, 0) if `rectify`.
inline void finish(const float* sums, start<float> s, matrix_view<float> c, bool rectify) {
  constexpr index_t n = lanes<float>;
  for (index_t r = 0; r < c.rows; ++r) {
    const float* const sum = sums + r * square;
    const float* const from = s.row(r);
    float* const to = c.row(r);
    const auto finish_register = [&](index_t j) {
      floats value = at(sum + j);
      if (from != nullptr) {
        value += at(from + j);
      }
      at(to + j) = rectify ? (value < 0 ? floats{} : value) : value;
    };
    if (c.cols == square) {
#pragma GCC unroll 8
      for (index_t j = 0; j < square; j += n) {
        finish_register(j);
      }
      continue;
    }
    index_t j = 0;
    for (; j + n <= c.cols; j += n) {
      finish_register(j);
    }
    for (; j < c.cols; ++j) {
      const float value = sum[j] + (from != nullptr ? from[j] : 0.0F);
      to[j] = rectify && value < 0 ? 0.0F : value;
    }
  }
}

/// Refuses other numbers, in one sentence for all products.
template <class T>
struct require_float {
  static_assert(std::is_same_v<T, float>, "engine::bf16 computes with float");
};

}  // namespace detail::bf16

/// Every number x of A and B is the sum of `Parts` bfloat16 numbers, each the nearest one to what
/// is left of x, and the products of parts i and j, i + j < Parts (from 0), are summed in float:
///
///     Parts   products   error of a product, relative to |a b|
///     1       1          2⁻⁸     mixed precision as it is commonly understood
///     2       3          2⁻¹⁶
///     3       6          2⁻²³    as exact as float
///
/// (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for
/// higher-precision computations".) Parameters, gradients, the optimiser and all that is not a
/// product, and convolutions, stay in float. Numbers of more than 3.38e38 count as infinite, those
/// below 1.2e-38 as zero, and with several parts an infinite number makes NaN. `Unit` is for tests;
/// where the operating system refuses tiles, registers take their place.
template <int Parts = 1, bf16_unit Unit = best_bf16_unit>
struct bf16 {
  static_assert(Parts >= 1 && Parts <= 3, "engine::bf16: a float has one, two or three parts");

  static constexpr bool independent_rows = true;
  static constexpr index_t row_step = 2 * detail::bf16::side;

  template <bool TransposeA, bool TransposeB, Scalar T>
  static void run(matrix_view<const T> a, matrix_view<const T> b, start<T> s, matrix_view<T> c,
                  bool rectify) {
    static_cast<void>(sizeof(detail::bf16::require_float<T>));
    if constexpr (std::is_same_v<T, float>) {
      copy_and_multiply<TransposeA, TransposeB>(a, b, s, c, rectify);
    }
  }

 private:
  static constexpr index_t most = 256;  // rows, columns and depth that are copied at a time

  template <bool TransposeA, bool TransposeB>
  [[gnu::noinline]] static void copy_and_multiply(matrix_view<const float> a,
                                                  matrix_view<const float> b, start<float> s,
                                                  matrix_view<float> c, bool rectify) {
    using namespace detail::bf16;
    static thread_local aligned_vector<word> a_tiles;
    static thread_local aligned_vector<word> b_tiles;
    const index_t all = TransposeA ? a.rows : a.cols;
    const index_t deepest = std::min(all, most);
    if (c.size() == 0) {
      return;
    }
    word* const left = room(a_tiles, c.rows, deepest);
    word* const right = room(b_tiles, c.cols, deepest);
    for (index_t i = 0; i < c.rows; i += most) {
      const index_t rows = std::min(most, c.rows - i);
      index_t k = 0;
      do {
        const index_t depth = std::min(most, all - k);
        pack<!TransposeA, TransposeA, Parts>(
            a.data + (TransposeA ? k * a.stride + i : i * a.stride + k), a.stride, rows, depth,
            left);
        for (index_t j = 0; j < c.cols; j += most) {
          const index_t cols = std::min(most, c.cols - j);
          pack<TransposeB, TransposeB, Parts>(
              b.data + (TransposeB ? j * b.stride + k : k * b.stride + j), b.stride, cols, depth,
              right);
          const matrix_view<float> part = c.row_range(i, rows).col_range(j, cols);
          multiply(left, right, (depth + tile_depth - 1) / tile_depth,
                   k > 0 ? itself(part) : s.from_row(i).from_column(j), part,
                   rectify && k + depth == all);
        }
        k += most;
      } while (k < all);
    }
  }

  // Registers are what tiles are replaced by.
  static constexpr bf16_unit fallback =
      Unit == bf16_unit::plain || best_bf16_unit == bf16_unit::plain ? bf16_unit::plain
                                                                     : bf16_unit::registers;

  // C = S + A B of copied operands.
  static void multiply(const detail::bf16::word* a, const detail::bf16::word* b, index_t steps,
                       start<float> s, matrix_view<float> c, bool rectify) {
    using namespace detail::bf16;
    const index_t line = steps * Parts * tile;  // words of 16 rows of A, or columns of B
#if defined(VIERBEIN_BF16_TILES)
    if (Unit == bf16_unit::tiles && tiles_permitted()) {
      const tile_registers registers;
      each_square(s, c, rectify, [&](index_t i, index_t j, bool tall, bool wide, float* sums) {
        const word* const ai = a + i * line;
        const word* const bj = b + j * line;
        if (tall && wide) {
          sum_by_tiles<Parts, 2, 2>(ai, bj, steps, sums);
        } else if (tall) {
          sum_by_tiles<Parts, 2, 1>(ai, bj, steps, sums);
        } else if (wide) {
          sum_by_tiles<Parts, 1, 2>(ai, bj, steps, sums);
        } else {
          sum_by_tiles<Parts, 1, 1>(ai, bj, steps, sums);
        }
      });
      return;
    }
#endif
    each_square(s, c, rectify, [&](index_t i, index_t j, bool tall, bool wide, float* sums) {
      const index_t tall_by = tall ? 2 : 1;
      const index_t wide_by = wide ? 2 : 1;
      for (index_t r = 0; r < tall_by; ++r) {
        for (index_t v = 0; v < wide_by; ++v) {
          sum_by_registers<Parts, fallback>(a + i * line + r * Parts * tile, tall_by * Parts * tile,
                                            b + j * line + v * Parts * tile, wide_by * Parts * tile,
                                            steps, sums + r * side * square + v * side);
        }
      }
    });
  }

  // f(i, j, tall, wide, sums) for each square of 32 x 32 of C, from tile i of the rows and tile j
  // of the columns on; `tall` and `wide`: it has more than one tile of them. The sums of a square
  // are put into C while the next one is computed: read at once, they would be waited for.
  template <class F>
  static void each_square(start<float> s, matrix_view<float> c, bool rectify, F&& f) {
    using namespace detail::bf16;
    alignas(64) float sums[2][square * square];
    const float* finished = nullptr;
    int now = 0;
    start<float> from;
    matrix_view<float> to;
    for (index_t j = 0; j < c.cols; j += square) {
      for (index_t i = 0; i < c.rows; i += square) {
        const index_t rows = std::min(square, c.rows - i);
        const index_t cols = std::min(square, c.cols - j);
        f(i / side, j / side, rows > side, cols > side, sums[now]);
        if (finished != nullptr) {
          finish(finished, from, to, rectify);
        }
        finished = sums[now];
        from = s.from_row(i).from_column(j);
        to = c.row_range(i, rows).col_range(j, cols);
        now = 1 - now;
      }
    }
    finish(finished, from, to, rectify);
  }

  static detail::bf16::word* room(aligned_vector<detail::bf16::word>& tiles, index_t lines,
                                  index_t depth) {
    using namespace detail::bf16;
    const index_t across = (std::min(lines, most) + side - 1) / side;
    const index_t along = (depth + tile_depth - 1) / tile_depth;
    const auto size = static_cast<std::size_t>(across * along * Parts * tile);
    if (tiles.size() < size) {
      tiles.resize(size);
    }
    return tiles.data();
  }
};

}  // namespace vierbein::backend::engine
