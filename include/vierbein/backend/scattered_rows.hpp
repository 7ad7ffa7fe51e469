// Products whose left operand is not a matrix in memory: its rows lie anywhere, may overlap, and
// each consists of the same stretches. The patches of an image are such a matrix: row p begins at
// the window's first pixel at position p, and has a stretch for each line of the window. So is its
// transpose: a row for every pixel of the window, a stretch for each line of positions. Neither is
// ever formed.
#pragma once

#include <algorithm>
#include <utility>

#include "vierbein/backend/image_kernels.hpp"
#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/types.hpp"

namespace vierbein::backend::detail {

/// C += A B, or C = S + A B, with A(r, s · length + i) = a[a_at[r] + begins[s] + i · step]: row r
/// of A begins at a_at[r], stretch s of every row at begins[s] behind that. Row r of C begins at
/// c_at[r]. Rows of C may overlap where C is added to. B's rows are read in whole registers.
template <class T>
struct scattered_product {
  const T* a;
  const index_t* a_at;
  index_t rows;
  const index_t* begins;
  index_t stretches, length, step;
  const T* b;  ///< (stretches · length, cols)
  index_t b_stride;
  const T* start;  ///< S, one row for all, in whole registers; none: C is added to
  bool rectify;    ///< max(·, 0) at the end; NaN stays NaN
  const T* end;    ///< of C, if its rows, the whole of each, follow each other; or null
  T* c;
  const index_t* c_at;
  index_t cols;  ///< at most two registers
};

/// Rows that one tile of sums in registers has at most: an even number.
inline constexpr int most_tile_rows = registers == 32 ? 12 : 6;

/// c = the first `count` numbers of a register, or as many as it holds if there is room for them.
template <class T>
inline void put(const lanes_of<T>& value, index_t count, bool room, T* c) {
  if (count >= lanes<T> || room) {
    at(c) = value;
    return;
  }
  T numbers[lanes<T>];
  at(numbers) = value;
  image_kernels::copy_short(numbers, count, c);
}

/// c += the first `count` numbers of a register, and 0 behind them.
template <class T>
inline void add(const lanes_of<T>& value, index_t count, T* c) {
  if (count >= lanes<T>) {
    at(c) += value;
    return;
  }
  lanes_of<T> number;
  for (index_t i = 0; i < lanes<T>; ++i) {
    number[i] = static_cast<T>(i);
  }
  at(c) += number < static_cast<T>(count) ? value : lanes_of<T>{};
}

/// Rows [first, first + Rows) of C. Rows from p.rows on are the last one, computed once more and
/// thrown away.
template <int Rows, int Registers, class T>
[[gnu::noinline]] VIERBEIN_WHOLE_REGISTERS void scattered_tile(const scattered_product<T>& p,
                                                               index_t first) {
  lanes_of<T> sum[Rows][Registers];
  const T* a[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    a[r] = p.a + p.a_at[std::min(first + r, p.rows - 1)];
#pragma GCC unroll 2
    for (int v = 0; v < Registers; ++v) {
      sum[r][v] = lanes_of<T>{};
      if (p.start != nullptr) {
        sum[r][v] = at(p.start + v * lanes<T>);
      }
    }
  }
  const T* b = p.b;
  const index_t step = p.step;
  const index_t stride = p.b_stride;
  for (index_t s = 0; s < p.stretches; ++s) {
    const index_t end = p.begins[s] + p.length * step;
#pragma GCC unroll 2
    for (index_t k = p.begins[s]; k != end; k += step, b += stride) {
      lanes_of<T> row[Registers];
#pragma GCC unroll 2
      for (int v = 0; v < Registers; ++v) {
        row[v] = at(b + v * lanes<T>);
      }
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const T factor = a[r][k];
#pragma GCC unroll 2
        for (int v = 0; v < Registers; ++v) {
          sum[r][v] += factor * row[v];
        }
      }
    }
  }
  // One row after the other, because rows of C may overlap.
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    if (first + r < p.rows) {
      T* const c = p.c + p.c_at[first + r];
#pragma GCC unroll 2
      for (int v = 0; v < Registers; ++v) {
        lanes_of<T> value = sum[r][v];
        if (p.start == nullptr) {
          add<T>(value, p.cols - v * lanes<T>, c + v * lanes<T>);
          continue;
        }
        if (p.rectify) {
          value = value < 0 ? lanes_of<T>{} : value;
        }
        // What is written behind a row is written over by the next rows.
        const bool room = p.end != nullptr && p.end - c >= (v + 1) * lanes<T>;
        put<T>(value, p.cols - v * lanes<T>, room, c + v * lanes<T>);
      }
    }
  }
}

/// All rows, in as few tiles as possible, of heights as equal as possible. The sum of an element of
/// C is formed in the order of A's columns, whatever tile it belongs to.
template <class T>
void multiply_scattered(const scattered_product<T>& p) {
  using tile = void (*)(const scattered_product<T>&, index_t);
  constexpr auto tiles = []<int... Half>(std::integer_sequence<int, Half...>) {
    struct table {
      tile narrow[sizeof...(Half)], wide[sizeof...(Half)];
    };
    return table{{scattered_tile<2 * Half + 2, 1, T>...}, {scattered_tile<2 * Half + 2, 2, T>...}};
  }(std::make_integer_sequence<int, most_tile_rows / 2>{});
  index_t left = (p.rows + most_tile_rows - 1) / most_tile_rows;
  for (index_t row = 0; row < p.rows; --left) {
    const index_t half = ((p.rows - row + left - 1) / left + 1) / 2;
    (p.cols > lanes<T> ? tiles.wide : tiles.narrow)[half - 1](p, row);
    row += 2 * half;
  }
}

/// f(column, columns) for stretches of columns of at most two registers.
template <class T, class F>
void each_columns(index_t cols, F&& f) {
  for (index_t j = 0; j < cols; j += 2 * lanes<T>) {
    f(j, std::min(2 * lanes<T>, cols - j));
  }
}

/// So many numbers, rounded up to whole registers.
template <class T>
constexpr index_t whole_registers(index_t n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

}  // namespace vierbein::backend::detail
