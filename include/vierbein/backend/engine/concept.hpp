// What computes the CPU backend's products of matrices: an engine, the second argument of
// `basic_cpu`. It is stateless, runs on the calling thread and allocates nothing after its first
// use with a given size.
//
//     template <bool TransposeA, bool TransposeB, Scalar T>
//     static void run(matrix_view<const T> a, matrix_view<const T> b, start<T> s,
//                     matrix_view<T> c, bool rectify);
//
// computes C = S + A B, with A, B or both transposed, and then max(·, 0) if `rectify` (NaN stays
// NaN). The backend hands it at most a few hundred rows of C at a time. With
//
//     static constexpr bool independent_rows   whether a row's bits are the same whatever rows of C
//                                              are computed with it
//     static constexpr index_t row_step        a number of rows that it likes multiples of
//
// it says how the backend may share out the rows of a product among threads. One that has
//
//     template <Scalar T>
//     static void gram(matrix_view<const T> a, T* to);
//
// computes A Aᵀ of long rows at half the cost, a stretch of the columns at a time: element (i, j)
// goes to to[i rows + j], for j <= i at least.
#pragma once

#include <concepts>

#include "vierbein/core/types.hpp"
#include "vierbein/core/view.hpp"

namespace vierbein::backend::engine {

/// S, what a product is added to: one row for all rows of C (`stride` 0: a bias), a row for each (C
/// itself: the product is accumulated), or zero (no data).
template <class T>
struct start {
  const T* data = nullptr;
  index_t stride = 0;

  [[nodiscard]] constexpr const T* row(index_t r) const {
    return data == nullptr ? nullptr : data + r * stride;
  }
  /// S from column j on.
  [[nodiscard]] constexpr start from_column(index_t j) const {
    return data == nullptr ? *this : start{data + j, stride};
  }
  /// S from row r on.
  [[nodiscard]] constexpr start from_row(index_t r) const { return {row(r), stride}; }
};

/// C as its own start: C += A B.
template <class T>
constexpr start<T> itself(matrix_view<T> c) {
  return {c.data, c.stride};
}

}  // namespace vierbein::backend::engine

namespace vierbein {

/// The requirements above, tried with float.
template <class E>
concept ProductEngine =
    requires(matrix_view<const float> in, backend::engine::start<float> s, matrix_view<float> out) {
      E::template run<false, false, float>(in, in, s, out, true);
      E::template run<true, true, float>(in, in, s, out, false);
      { E::independent_rows } -> std::convertible_to<bool>;
      { E::row_step } -> std::convertible_to<index_t>;
    };

}  // namespace vierbein
