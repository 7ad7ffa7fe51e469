#include "vierbein/core/view.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <type_traits>
#include <vector>

#include "vierbein/core/matrix.hpp"

using vierbein::array_view;
using vierbein::device_space;
using vierbein::host_space;
using vierbein::index_t;
using vierbein::matrix_view;

namespace {

template <class View>
concept readable = requires(View view) { view(0, 0); };
template <class View>
concept has_rows = requires(View view) { view.row(0); };
template <class View>
concept iterable = requires(View view) {
  view[0];
  view.begin();
  view.end();
};

std::vector<double> counted(std::size_t n) {
  std::vector<double> values(n);
  std::iota(values.begin(), values.end(), 0.0);
  return values;
}

}  // namespace

TEST_CASE("views are plain values") {
  static_assert(std::is_trivially_copyable_v<matrix_view<float>>);
  static_assert(std::is_trivially_copyable_v<array_view<float, device_space>>);
  static_assert(std::is_same_v<matrix_view<const float>::value_type, float>);
}

TEST_CASE("elements of device memory are out of reach, their shape and ranges are not") {
  static_assert(readable<matrix_view<float>> && readable<matrix_view<const double>>);
  static_assert(!readable<matrix_view<float, device_space>>);
  static_assert(!has_rows<matrix_view<float, device_space>>);
  static_assert(iterable<array_view<float>> && !iterable<array_view<float, device_space>>);
  constexpr matrix_view<float, device_space> view{nullptr, 4, 3};
  static_assert(view.size() == 12);
  static_assert(view.row_range(0, 2).rows == 2);
}

TEST_CASE("a view converts from writable to readable only, and never to another space") {
  using writable = matrix_view<float>;
  static_assert(std::is_convertible_v<writable, matrix_view<const float>>);
  static_assert(!std::is_convertible_v<matrix_view<const float>, writable>);
  static_assert(!std::is_convertible_v<writable, matrix_view<float, device_space>>);
  static_assert(!std::is_convertible_v<matrix_view<float, device_space>, writable>);
  static_assert(std::is_convertible_v<array_view<float>, array_view<const float>>);
  static_assert(!std::is_convertible_v<array_view<const float>, array_view<float>>);
  static_assert(!std::is_convertible_v<array_view<float, device_space>, array_view<float>>);
}

TEST_CASE("elements lie row by row") {
  std::vector<double> values = counted(12);
  const matrix_view<double> x{values.data(), 3, 4};
  CHECK(x.contiguous());
  CHECK(x(0, 0) == 0);
  CHECK(x(1, 0) == 4);
  CHECK(x(2, 3) == 11);
  CHECK(x.row(2) == values.data() + 8);
  x(1, 2) = -1;
  CHECK(values[6] == -1);
}

TEST_CASE("ranges of rows and columns address the same elements") {
  std::vector<double> values = counted(30);
  const matrix_view<double> x{values.data(), 5, 6};
  const auto rows = x.row_range(1, 3);
  CHECK(rows.rows == 3);
  CHECK(rows.cols == 6);
  CHECK(rows.contiguous());
  CHECK(rows(2, 5) == x(3, 5));
  const auto block = rows.col_range(2, 2);
  CHECK(block.rows == 3);
  CHECK(block.cols == 2);
  CHECK_FALSE(block.contiguous());
  CHECK(block.row_range(0, 1).contiguous());
  CHECK(block(1, 1) == x(2, 3));
  block(1, 1) = 100;
  CHECK(values[15] == 100);
}

TEST_CASE("an array view and its ranges") {
  std::vector<double> values = counted(6);
  const array_view<double> x{values.data(), 6};
  CHECK(std::accumulate(x.begin(), x.end(), 0.0) == 15);
  const auto part = x.range(2, 3);
  CHECK(part.size == 3);
  CHECK(part[0] == 2);
  CHECK(part.end() - part.begin() == 3);
}

TEST_CASE("an empty view has no elements") {
  CHECK(matrix_view<float>{}.size() == 0);
  CHECK(array_view<float>{}.begin() == array_view<float>{}.end());
}

TEST_CASE("a matrix owns its elements") {
  vierbein::matrix<double> a(2, 3, 7.0);
  CHECK(a.size() == 6);
  CHECK(a(1, 2) == 7);
  vierbein::matrix<double> b = a;
  b(1, 2) = 1;
  CHECK(a(1, 2) == 7);
  CHECK_FALSE(a == b);
  CHECK(b.row(1).size() == 3);
  CHECK(b.row(1)[2] == 1);
  b.view()(0, 1) = 4;
  CHECK(b(0, 1) == 4);
  CHECK(vierbein::matrix<double>(2, 3) != vierbein::matrix<double>(3, 2));
  b.resize(1, 2);
  CHECK(b.size() == 2);
  CHECK(vierbein::matrix<float>().empty());
}

TEST_CASE("a matrix refuses sizes below 0") {
  using matrix = vierbein::matrix<double>;
  using vierbein::error;
  CHECK_THROWS_WITH_AS(matrix(-1, 3), "matrix: expected sizes of at least 0, found -1 x 3", error);
  CHECK_THROWS_WITH_AS(matrix(-2, -3), "matrix: expected sizes of at least 0, found -2 x -3",
                       error);
  matrix a(2, 3, 7.0);
  CHECK_THROWS_WITH_AS(a.resize(1, -1), "matrix: expected sizes of at least 0, found 1 x -1",
                       error);
  CHECK(a == matrix(2, 3, 7.0));
}
