// Products by a kernel of our own, made for the sizes of small networks, where packing both
// operands, as kernels for large matrices do, costs as much as the arithmetic.
//
// C is cut into tiles of R rows times one or two registers, whose sums stay in registers while the
// loop runs over the depth. Each step loads one or two registers of B and multiplies them by R
// single numbers of A, which are read where they lie, or copied tile by tile when C has very many
// columns. B is copied into a panel of consecutive rows first, unless C has few rows. The width of
// a register comes from the compiler's target; there are no instructions of a particular machine.
//
// An element of C is the sum over the depth in order, in stretches of `depth_block`, whatever tile
// it belongs to. Where C has one column, or B is transposed and has a few long rows, it is a dot
// product over registers. Which of them it is does not depend on the number of rows of C, nor does,
// therefore, the result of a row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "vierbein/backend/engine/concept.hpp"
#include "vierbein/backend/lanes.hpp"
#include "vierbein/core/arena.hpp"

namespace vierbein::backend::engine {

namespace detail {

using backend::detail::at;
using backend::detail::lanes;
using backend::detail::lanes_of;
using backend::detail::transpose_square;
using backend::detail::transpose_stage;

inline constexpr int most_rows = backend::detail::registers == 32 ? 12 : 6;  // of a tile
inline constexpr int dot_rows = 4;  // of a block of dot products: its sums stay in registers too
inline constexpr int dot_cols = backend::detail::registers == 32 ? 4 : 3;
inline constexpr index_t depth_block = 256;

/// C = S + A B for a tile of `Rows` rows and `Registers` registers; b's rows lie `stride` apart.
template <bool TransposeA, int Rows, int Registers, class T>
[[gnu::noinline]] VIERBEIN_WHOLE_REGISTERS void tile(const T* a, index_t a_stride, const T* b,
                                                     index_t stride, index_t depth, start<T> s,
                                                     T* c, index_t c_stride, bool rectify) {
  lanes_of<T> sum[Rows][Registers];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < Registers; ++v) {
      sum[r][v] = lanes_of<T>{};
    }
  }
  // Rows of A in threes: their distances are then in the instructions, which spares pointers.
  constexpr int together = 3;
  const T* base[(Rows + together - 1) / together];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r += together) {
    base[r / together] = a + (TransposeA ? r : r * a_stride);
  }
  // Ask in time for C, which is wanted at the end, and for A: the rows of the next tile, which
  // often lie behind these, or, transposed, what is multiplied some steps later.
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < Registers; ++v) {
      __builtin_prefetch(c + r * c_stride + v * lanes<T>, 1);
    }
  }
  for (index_t k = 0; k < depth; ++k) {
    __builtin_prefetch(TransposeA ? a + 8 * a_stride : a + Rows * (a_stride + k));
    lanes_of<T> row[Registers];
#pragma GCC unroll 16
    for (int v = 0; v < Registers; ++v) {
      row[v] = at(b + v * lanes<T>);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const T factor = TransposeA ? a[r] : base[r / together][r % together * a_stride + k];
#pragma GCC unroll 16
      for (int v = 0; v < Registers; ++v) {
        sum[r][v] += factor * row[v];
      }
    }
    b += stride;
    if (TransposeA) {
      a += a_stride;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < Registers; ++v) {
      lanes_of<T> value = sum[r][v];
      if (s.data != nullptr) {
        value += at(s.row(r) + v * lanes<T>);
      }
      if (rectify) {
        value = value < 0 ? lanes_of<T>{} : value;
      }
      at(c + r * c_stride + v * lanes<T>) = value;
    }
  }
}

/// How A lies: as it is, transposed, or copied tile by tile, the tile that begins with row r at
/// r · depth, and in it number k of each row behind number k - 1 of all rows.
enum class left { rows, columns, tiles };

/// Calls f(integral_constant<int, Rows>, row) for all tiles of `rows` rows, each of `Rows` rows
/// from `row` on.
template <class F>
void each_tile(index_t rows, F&& f) {
  index_t row = 0;
  const auto down_by = [&]<int Rows>(std::integral_constant<int, Rows> height) {
    for (; row + Rows <= rows; row += Rows) {
      f(height, row);
    }
  };
  down_by(std::integral_constant<int, most_rows>{});
  if constexpr (most_rows > 8) {
    down_by(std::integral_constant<int, 8>{});
  }
  down_by(std::integral_constant<int, 4>{});
  down_by(std::integral_constant<int, 2>{});
  down_by(std::integral_constant<int, 1>{});
}

/// A panel: `cols` <= Registers · lanes columns of C, all rows.
template <left A, int Registers, class T>
struct panel {
  matrix_view<const T> a;
  const T* b;  // (depth, Registers · lanes), rows `stride` apart
  index_t stride;
  index_t depth;
  start<T> s;
  matrix_view<T> c;
  bool rectify;

  void run() const {
    each_tile(c.rows, [&]<int Rows>(std::integral_constant<int, Rows>, index_t row) {
      rows_from<Rows>(row);
    });
  }

 private:
  template <int Rows>
  void rows_from(index_t row) const {
    constexpr index_t width = Registers * lanes<T>;
    constexpr bool transposed = A != left::rows;
    const T* const first = A == left::rows      ? a.row(row)
                           : A == left::columns ? a.data + row
                                                : a.data + row * depth;
    const index_t a_stride = A == left::tiles ? Rows : a.stride;
    const start<T> from = s.from_row(row);
    if (c.cols == width) {
      tile<transposed, Rows, Registers>(first, a_stride, b, stride, depth, from, c.row(row),
                                        c.stride, rectify);
      return;
    }
    T whole[Rows * width];
    tile<transposed, Rows, Registers>(first, a_stride, b, stride, depth, start<T>{}, whole, width,
                                      false);
    for (int r = 0; r < Rows; ++r) {
      for (index_t j = 0; j < c.cols; ++j) {
        const T value = whole[r * width + j] + (from.data != nullptr ? from.row(r)[j] : T{0});
        c(row + r, j) = rectify && value < 0 ? T{0} : value;
      }
    }
  }
};

/// Copies `cols` columns of B, or of Bᵀ, into rows of `Registers` registers that lie one behind the
/// other; what is missing becomes 0.
template <bool TransposeB, int Registers, class T>
void pack(const T* b, index_t stride, index_t depth, index_t cols, T* to) {
  constexpr index_t n = lanes<T>;
  constexpr index_t width = Registers * n;
  index_t k = 0;  // up to here in whole registers
  if constexpr (TransposeB) {
    for (; k + n <= depth; k += n) {
      for (index_t j = 0; j < width; j += n) {
        transpose_square(b + j * stride + k, stride, cols - j, to + k * width + j, width);
      }
    }
  } else {
    for (; k < depth && cols == width; ++k) {
#pragma GCC unroll 2
      for (int v = 0; v < Registers; ++v) {
        at(to + k * width + v * n) = at(b + k * stride + v * n);
      }
    }
  }
  for (; k < depth; ++k) {
    for (index_t j = 0; j < width; ++j) {
      to[k * width + j] = j >= cols ? T{0} : TransposeB ? b[j * stride + k] : b[k * stride + j];
    }
  }
}

/// Copies A, or Aᵀ, tile by tile: left::tiles. Up to a register behind the last one is written to.
template <bool TransposeA, class T>
void pack_tiles(matrix_view<const T> a, index_t rows, index_t depth, T* to) {
  constexpr index_t n = lanes<T>;
  each_tile(rows, [&]<int Rows>(std::integral_constant<int, Rows>, index_t row) {
    T* const tile = to + row * depth;
    index_t k = 0;
    if constexpr (!TransposeA && Rows > 1 && Rows <= n) {
      // The zeros beyond a square's `Rows` columns are written over by what comes next; behind the
      // last tile there is room for them.
      for (; k + n < depth; k += n) {
        transpose_square(a.row(row) + k, a.stride, Rows, tile + k * Rows, Rows);
      }
    }
    for (; k < depth; ++k) {
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        tile[k * Rows + r] = TransposeA ? a(k, row + r) : a(row + r, k);
      }
    }
  });
}

/// The sums of the numbers of each of `Count` registers.
template <int Count, class T>
VIERBEIN_WHOLE_REGISTERS inline void totals(const lanes_of<T>* registers, T* to) {
  constexpr int n = static_cast<int>(lanes<T>);
  if constexpr (Count >= n) {  // transposed, they are added n at a time
#pragma GCC unroll 8
    for (int first = 0; first < Count; first += n) {
      lanes_of<T> rows[lanes<T>];
#pragma GCC unroll 16
      for (int i = 0; i < n; ++i) {
        rows[i] = first + i < Count ? registers[first + i] : lanes_of<T>{};
      }
      transpose_stage<lanes<T> / 2, T>(rows);
#pragma GCC unroll 16
      for (int i = 1; i < n; ++i) {
        rows[0] += rows[i];
      }
      for (int i = 0; i < std::min(n, Count - first); ++i) {
        to[first + i] = rows[0][i];
      }
    }
  } else {
    for (int i = 0; i < Count; ++i) {
      to[i] = 0;
      for (int l = 0; l < n; ++l) {
        to[i] += registers[i][l];
      }
    }
  }
}

/// sum(r, q) = Σ x_r y_q over `count` registers of numbers, each lane by itself; `Onto` what is
/// there.
template <int Rows, int Cols, class T, bool Onto = false>
[[gnu::noinline]] VIERBEIN_WHOLE_REGISTERS void dot_lanes(const T* const* x, const T* const* y,
                                                          index_t count, lanes_of<T>* to) {
  lanes_of<T> sum[Rows][Cols];
  const T* left[Rows];
  const T* right[Cols];
#pragma GCC unroll 4
  for (int q = 0; q < Cols; ++q) {
    right[q] = y[q];
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    left[r] = x[r];
#pragma GCC unroll 4
    for (int q = 0; q < Cols; ++q) {
      sum[r][q] = Onto ? to[r * Cols + q] : lanes_of<T>{};
    }
  }
  for (index_t k = 0; k < count * lanes<T>; k += lanes<T>) {
    lanes_of<T> factor[Cols];
#pragma GCC unroll 4
    for (int q = 0; q < Cols; ++q) {
      factor[q] = at(right[q] + k);
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const lanes_of<T> other = at(left[r] + k);
#pragma GCC unroll 4
      for (int q = 0; q < Cols; ++q) {
        sum[r][q] += other * factor[q];
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int q = 0; q < Cols; ++q) {
      to[r * Cols + q] = sum[r][q];
    }
  }
}

/// A Aᵀ by dot products of rows, in blocks that lie below the diagonal or touch it: element (i, j)
/// goes to to[i rows + j].
template <class T>
VIERBEIN_WHOLE_REGISTERS void gram(matrix_view<const T> a, T* to) {
  constexpr index_t n = lanes<T>;
  constexpr index_t side = dot_rows;
  constexpr index_t across = dot_cols;
  constexpr index_t block_size = side * across;
  constexpr index_t stretch = 32 * n;  // of 16 rows, it stays in the first cache
  constexpr index_t line = 64 / sizeof(T);
  const index_t whole = a.cols / n * n;
  // In the rows from i on.
  const auto blocks_in = [](index_t i) { return (i + side + across - 1) / across; };
  index_t blocks = 0;
  for (index_t i = 0; i < a.rows; i += side) {
    blocks += blocks_in(i);
  }
  const index_t asked =
      a.rows > side ? side * stretch / line : 0;  // four rows the machine foresees
  static thread_local aligned_vector<lanes_of<T>> sums;
  const auto room = static_cast<std::size_t>(blocks * block_size);
  if (sums.size() < room) {
    sums.resize(room);
  }
  std::fill_n(sums.data(), room, lanes_of<T>{});
  const auto rows_of = [&](index_t first_row, index_t count, index_t first, const T** rows) {
    for (index_t r = 0; r < count; ++r) {  // a missing row is the last one once more
      rows[r] = a.row(std::min(first_row + r, a.rows - 1)) + first;
    }
  };
  for (index_t first = 0; first < whole; first += stretch) {
    lanes_of<T>* sum = sums.data();
    for (index_t i = 0; i < a.rows; i += side) {
      const T* x[side];
      rows_of(i, side, first, x);
      const index_t count = blocks_in(i);
      for (index_t j = 0; j < count; ++j, sum += block_size) {
        const T* y[across];
        rows_of(j * across, across, first, y);
        // Ask for what the rows x want of the next stretch, a part at a time.
        for (index_t k = asked * j / count; k < asked * (j + 1) / count; ++k) {
          __builtin_prefetch(x[k % side] + stretch + k / side * line, 0, 2);
        }
        dot_lanes<side, across, T, true>(x, y, std::min(stretch, whole - first) / n, sum);
      }
    }
  }
  const lanes_of<T>* sum = sums.data();
  for (index_t i = 0; i < a.rows; i += side) {
    for (index_t j = 0; j < i + side; j += across, sum += block_size) {
      T block[block_size];
      totals<block_size, T>(sum, block);
      for (index_t r = i; r < std::min(i + side, a.rows); ++r) {
        for (index_t q = j; q < std::min(j + across, a.rows); ++q) {
          T total = block[(r - i) * across + q - j];
          for (index_t k = whole; k < a.cols; ++k) {
            total += a(r, k) * a(q, k);
          }
          to[r * a.rows + q] = total;
        }
      }
    }
  }
}

/// C = S + A Bᵀ by dot products of rows, which run over registers: for a B of few rows. Some rows
/// of A and `Cols` of B at a time, in stretches of the depth that stay in the cache.
template <int Cols, class T>
[[gnu::noinline]] VIERBEIN_WHOLE_REGISTERS void dots(matrix_view<const T> a, matrix_view<const T> b,
                                                     index_t depth, start<T> s, matrix_view<T> c,
                                                     bool rectify) {
  constexpr index_t n = lanes<T>;
  constexpr int rows = dot_rows;
  constexpr index_t stretch = 128 * n;
  index_t first = 0;
  do {
    const index_t end = std::min(first + stretch, depth);
    const bool last = end == depth;
    for (index_t j = 0; j < c.cols; j += Cols) {
      for (index_t i = 0; i < c.rows; i += rows) {
        const T* x[rows];  // a missing row is the last one once more
        const T* y[Cols];
        for (int r = 0; r < rows; ++r) {
          x[r] = a.row(std::min(i + r, c.rows - 1)) + first;
        }
        for (int q = 0; q < Cols; ++q) {
          y[q] = b.row(std::min(j + q, c.cols - 1)) + first;
        }
        const index_t count = (end - first) / n;
        lanes_of<T> sum[rows * Cols];
        dot_lanes<rows, Cols, T>(x, y, count, sum);
        T whole[rows * Cols];
        totals<rows * Cols, T>(sum, whole);
        for (int r = 0; r < rows && i + r < c.rows; ++r) {
          for (int q = 0; q < Cols && j + q < c.cols; ++q) {
            T total = whole[r * Cols + q];
            for (index_t l = count * n; l < end - first; ++l) {
              total += x[r][l] * y[q][l];
            }
            T& to = c(i + r, j + q);
            if (first > 0) {
              total += to;
            } else if (s.data != nullptr) {
              total += s.row(i + r)[j + q];
            }
            to = rectify && last && total < 0 ? T{0} : total;
          }
        }
      }
    }
    first = end;
  } while (first < depth);
}

}  // namespace detail

/// The default engine: tiles in registers, B packed, A mostly read in place.
struct tiled {
  static constexpr bool independent_rows = true;
  static constexpr index_t row_step = detail::most_rows;

  template <bool TransposeA, bool TransposeB, Scalar T>
  [[gnu::noinline]] static void run(matrix_view<const T> a, matrix_view<const T> b, start<T> s,
                                    matrix_view<T> c, bool rectify) {
    const index_t depth = TransposeA ? a.rows : a.cols;
    if (c.size() == 0) {
      return;
    }
    if constexpr (!TransposeA) {
      if (c.cols == 1 && (TransposeB || b.stride == 1)) {  // matrix times vector
        detail::dots<1>(a, {b.data, 1, depth, b.stride}, depth, s, c, rectify);
        return;
      }
      if (TransposeB && c.cols <= few_rows && depth >= long_rows) {  // a few long rows
        detail::dots<detail::dot_cols>(a, b, depth, s, c, rectify);
        return;
      }
    } else if (!TransposeB && c.cols == 1 && c.stride == 1 && c.rows > 1 &&
               (s.data == nullptr || s.stride == 1)) {  // the same; a column is written as a row
      run<true, false, T>(b, a, {s.data, 0}, {c.data, 1, c.rows}, rectify);
      return;
    }
    index_t k = 0;
    do {
      const index_t n = std::min(detail::depth_block, depth - k);
      const auto ak = TransposeA ? a.row_range(k, n) : a.col_range(k, n);
      const auto bk = TransposeB ? b.col_range(k, n) : b.row_range(k, n);
      const start<T> from = k == 0 ? s : itself(c);
      const bool rectified = rectify && k + n == depth;
      if (copied<TransposeA>(ak, c)) {
        static thread_local aligned_vector<T> tiles;
        const auto room = static_cast<std::size_t>(c.rows * n + detail::lanes<T>);
        if (tiles.size() < room) {
          tiles.resize(room);
        }
        detail::pack_tiles<TransposeA>(ak, c.rows, n, tiles.data());
        stretch<detail::left::tiles, TransposeB, T>({tiles.data(), c.rows, n}, bk, n, from, c,
                                                    rectified);
      } else {
        constexpr auto in_place = TransposeA ? detail::left::columns : detail::left::rows;
        stretch<in_place, TransposeB, T>(ak, bk, n, from, c, rectified);
      }
      k += n;
    } while (k < depth);
  }

  template <Scalar T>
  static void gram(matrix_view<const T> a, T* to) {
    detail::gram(a, to);
  }

 private:
  static constexpr index_t few_rows = 8;
  static constexpr index_t long_rows = 1024;

  // Whether it pays to copy A: where C has many columns. Transposed, the numbers of A lie far from
  // each other, and at distances that are whole pages they are in each other's way in the cache.
  template <bool TransposeA, class T>
  static bool copied(matrix_view<const T> a, matrix_view<T> c) {
    constexpr index_t page = 4096 / sizeof(T);
    const bool crowded = TransposeA && a.stride % page == 0;
    const index_t many = crowded ? 8 * detail::lanes<T> : TransposeA ? 512 : 1024;
    return c.cols >= many && c.rows >= detail::most_rows;
  }

  // run() for a depth of at most `depth_block`, panel by panel.
  template <detail::left A, bool TransposeB, class T>
  static void stretch(matrix_view<const T> a, matrix_view<const T> b, index_t depth, start<T> s,
                      matrix_view<T> c, bool rectify) {
    constexpr index_t narrow = detail::lanes<T>;
    constexpr index_t wide = 2 * narrow;
    constexpr index_t very_wide = 8 * narrow;
    index_t j = 0;
    if constexpr (!TransposeB && A != detail::left::tiles) {
      // A single row needs many registers to keep the units busy.
      for (; c.rows == 1 && j + very_wide <= c.cols; j += very_wide) {
        detail::tile<A == detail::left::columns, 1, 8, T>(a.data, a.stride, b.data + j, b.stride,
                                                          depth, s.from_column(j), c.data + j,
                                                          c.stride, rectify);
      }
    }
    while (j < c.cols) {
      const index_t cols = std::min(wide, c.cols - j);
      const matrix_view<const T> bj = TransposeB ? b.row_range(j, cols) : b.col_range(j, cols);
      if (cols > narrow) {
        columns<A, TransposeB, 2>(a, bj, depth, s.from_column(j), c.col_range(j, cols), rectify);
      } else {
        columns<A, TransposeB, 1>(a, bj, depth, s.from_column(j), c.col_range(j, cols), rectify);
      }
      j += cols;
    }
  }

  // The same for a few columns, which `Registers` registers hold.
  template <detail::left A, bool TransposeB, int Registers, class T>
  static void columns(matrix_view<const T> a, matrix_view<const T> b, index_t depth, start<T> s,
                      matrix_view<T> c, bool rectify) {
    constexpr index_t width = Registers * detail::lanes<T>;
    if (!TransposeB && c.cols == width && c.rows <= 2 * detail::most_rows) {
      detail::panel<A, Registers, T>{a, b.data, b.stride, depth, s, c, rectify}.run();
      return;
    }
    alignas(64) T packed[detail::depth_block * width];
    detail::pack<TransposeB, Registers>(b.data, b.stride, depth, c.cols, packed);
    detail::panel<A, Registers, T>{a, packed, width, depth, s, c, rectify}.run();
  }
};

}  // namespace vierbein::backend::engine
