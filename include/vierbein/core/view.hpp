// Views: a pointer and a shape, with the memory space in the type. They own nothing.
#pragma once

#include <cassert>
#include <cstddef>
#include <type_traits>

#include "vierbein/core/types.hpp"

namespace vierbein {

/// A row-major matrix (rows, cols); `stride` elements separate the beginnings of two rows.
/// Rows are samples, columns are features, throughout the library.
template <class T, class Space = host_space>
struct matrix_view {
  using value_type = std::remove_const_t<T>;
  using space = Space;

  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t stride = 0;

  constexpr matrix_view() = default;
  constexpr matrix_view(T* first, index_t row_count, index_t column_count)
      : data(first), rows(row_count), cols(column_count), stride(column_count) {}
  constexpr matrix_view(T* first, index_t row_count, index_t column_count, index_t row_stride)
      : data(first), rows(row_count), cols(column_count), stride(row_stride) {}

  /// A view that may write converts to one that may only read.
  constexpr operator matrix_view<const T, Space>() const  // NOLINT(google-explicit-constructor)
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, stride};
  }

  [[nodiscard]] constexpr index_t size() const { return rows * cols; }
  [[nodiscard]] constexpr bool contiguous() const { return stride == cols || rows <= 1; }

  /// Element (r, c); host memory only.
  constexpr T& operator()(index_t r, index_t c) const
    requires std::is_same_v<Space, host_space>
  {
    assert(r >= 0 && r < rows && c >= 0 && c < cols);
    return data[r * stride + c];
  }

  /// Pointer to the beginning of row r; host memory only.
  [[nodiscard]] constexpr T* row(index_t r) const
    requires std::is_same_v<Space, host_space>
  {
    return data + r * stride;
  }

  /// Rows [first, first + count).
  [[nodiscard]] constexpr matrix_view row_range(index_t first, index_t count) const {
    return {data + first * stride, count, cols, stride};
  }

  /// Columns [first, first + count).
  [[nodiscard]] constexpr matrix_view col_range(index_t first, index_t count) const {
    return {data + first, rows, count, stride};
  }
};

/// A contiguous array of `size` elements.
template <class T, class Space = host_space>
struct array_view {
  using value_type = std::remove_const_t<T>;
  using space = Space;

  T* data = nullptr;
  index_t size = 0;

  constexpr array_view() = default;
  constexpr array_view(T* first, index_t count) : data(first), size(count) {}

  /// A view that may write converts to one that may only read.
  constexpr operator array_view<const T, Space>() const  // NOLINT(google-explicit-constructor)
    requires(!std::is_const_v<T>)
  {
    return {data, size};
  }

  constexpr T& operator[](index_t i) const
    requires std::is_same_v<Space, host_space>
  {
    assert(i >= 0 && i < size);
    return data[i];
  }

  [[nodiscard]] constexpr T* begin() const
    requires std::is_same_v<Space, host_space>
  {
    return data;
  }
  [[nodiscard]] constexpr T* end() const
    requires std::is_same_v<Space, host_space>
  {
    return data + size;
  }

  [[nodiscard]] constexpr array_view range(index_t first, index_t count) const {
    return {data + first, count};
  }
};

}  // namespace vierbein
