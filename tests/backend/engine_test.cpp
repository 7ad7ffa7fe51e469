// Every engine against plain loops in double, on all kinds of shapes, and what the default engine
// promises besides.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/backend/engine/eigen.hpp"
#include "vierbein/backend/engine/tiled.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/core/random.hpp"

namespace vb = vierbein;
using vb::index_t;
namespace engine = vb::backend::engine;

namespace {

/// What one product of two numbers may be wrong by, relative to its size.
template <class Engine, class T>
constexpr double unit = static_cast<double>(std::numeric_limits<T>::epsilon());
template <engine::bf16_unit Unit>
constexpr double unit<engine::bf16<1, Unit>, float> = 0x1p-8;
template <engine::bf16_unit Unit>
constexpr double unit<engine::bf16<2, Unit>, float> = 0x1p-16;

/// A matrix within a larger one of other numbers, which must stay as they are.
template <class T>
struct framed {
  framed(index_t rows, index_t cols, index_t gap, std::uint64_t seed)
      : stride(cols + gap), elements(static_cast<std::size_t>(rows * stride + 1)) {
    const vb::random_stream stream{seed, vb::name_hash("engine")};
    for (std::size_t i = 0; i < elements.size(); ++i) {
      elements[i] = static_cast<T>(stream.normal(i));
    }
    view = {elements.data() + 1, rows, cols, stride};  // at an odd address
  }
  index_t stride;
  std::vector<T> elements;
  vb::matrix_view<T> view;
};

enum class beginning { zero, bias, rows, itself };

struct dimensions {
  index_t rows, cols, depth;
};

template <class Engine, bool TransposeA, bool TransposeB, class T>
void check(dimensions d, beginning kind, bool rectify, index_t gap) {
  CAPTURE(d.rows);
  CAPTURE(d.cols);
  CAPTURE(d.depth);
  CAPTURE(static_cast<int>(kind));
  CAPTURE(rectify);
  CAPTURE(gap);
  const auto a =
      TransposeA ? framed<T>(d.depth, d.rows, gap, 1) : framed<T>(d.rows, d.depth, gap, 1);
  const auto b =
      TransposeB ? framed<T>(d.cols, d.depth, gap, 2) : framed<T>(d.depth, d.cols, gap, 2);
  const framed<T> s(d.rows, d.cols, gap, 3);
  framed<T> c(d.rows, d.cols, gap, 4);
  const framed<T> before = c;
  engine::start<T> start{};
  if (kind == beginning::itself) {
    start = engine::itself(c.view);
  } else if (kind != beginning::zero) {
    start = {s.view.data, kind == beginning::bias ? 0 : s.stride};
  }
  Engine::template run<TransposeA, TransposeB, T>(a.view, b.view, start, c.view, rectify);

  double worst = 0;  // error in units of what the rounding of a sum may be
  for (index_t r = 0; r < d.rows; ++r) {
    for (index_t j = 0; j < d.cols; ++j) {
      const auto at = static_cast<std::size_t>(1 + r * c.stride + j);
      double total = kind == beginning::zero     ? 0.0
                     : kind == beginning::itself ? static_cast<double>(before.elements[at])
                     : kind == beginning::bias   ? static_cast<double>(s.view(0, j))
                                                 : static_cast<double>(s.view(r, j));
      double size = std::abs(total);
      for (index_t k = 0; k < d.depth; ++k) {
        const double term = static_cast<double>(TransposeA ? a.view(k, r) : a.view(r, k)) *
                            static_cast<double>(TransposeB ? b.view(j, k) : b.view(k, j));
        total += term;
        size += std::abs(term);
      }
      total = rectify && total < 0 ? 0 : total;
      worst = std::max(worst, std::abs(static_cast<double>(c.elements[at]) - total) /
                                  (unit<Engine, T> * (size + 1e-30)));
    }
  }
  CHECK(worst < 4 + std::sqrt(static_cast<double>(d.depth)));
  for (std::size_t i = 0; i < c.elements.size(); ++i) {  // the frame
    const auto at = static_cast<index_t>(i) - 1;
    if (at < 0 || at / c.stride >= d.rows || at % c.stride >= d.cols) {
      REQUIRE(c.elements[i] == before.elements[i]);
    }
  }
}

template <class Engine, class T>
void check_all(dimensions d, beginning kind, bool rectify, index_t gap) {
  check<Engine, false, false, T>(d, kind, rectify, gap);
  check<Engine, false, true, T>(d, kind, rectify, gap);
  check<Engine, true, false, T>(d, kind, rectify, gap);
  check<Engine, true, true, T>(d, kind, rectify, gap);
}

template <class Engine, class T>
void check_shapes() {
  const index_t n = vb::backend::detail::lanes<T>;
  for (const index_t rows : {index_t{1}, index_t{2}, index_t{3}, index_t{13}, 2 * n + 1}) {
    for (const index_t cols : {index_t{1}, index_t{3}, n, n + 1, 2 * n, 2 * n + 5, 9 * n}) {
      for (const index_t depth : {index_t{0}, index_t{1}, n - 1, n, 2 * n + 3}) {
        check_all<Engine, T>({rows, cols, depth}, beginning::zero, false, 0);
        check_all<Engine, T>({rows, cols, depth}, beginning::itself, depth % 2 == 0, 3);
      }
      check_all<Engine, T>({rows, cols, 5}, beginning::bias, true, 1);
      check_all<Engine, T>({rows, cols, 5}, beginning::rows, false, 2);
    }
  }
  // a few long rows, and one column
  for (const index_t cols : {1, 2, 7, 8, 9}) {
    check_all<Engine, T>({5, cols, 1024 + 3}, beginning::bias, true, 1);
    check_all<Engine, T>({2, cols, 2500}, beginning::itself, true, 0);
  }
  // so many columns that A is copied
  for (const index_t rows : {12, 16, 43}) {
    for (const index_t depth : {index_t{1}, n, 2 * n + 3, index_t{300}}) {
      check_all<Engine, T>({rows, 1030, depth}, beginning::bias, true, 1);
    }
  }
  // the same where rows of A lie whole pages apart, for fewer columns
  for (const index_t cols : {8 * n - 1, 8 * n, 8 * n + 3}) {
    check<Engine, true, false, T>({43, cols, 2 * n + 3}, beginning::itself, true, 1024 * 4 - 43);
  }
  // more than one stretch of the depth, rectified at the end only
  for (const index_t rows : {1, 2, 67}) {
    for (const index_t cols : {1, 10, 40}) {
      check_all<Engine, T>({rows, cols, 600}, beginning::bias, true, 0);
      check_all<Engine, T>({rows, cols, 512}, beginning::itself, false, 1);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("an engine computes S + A B for all shapes, strides and transpositions", Engine,
                   engine::tiled, engine::eigen) {
  static_assert(vb::ProductEngine<Engine>);
  check_shapes<Engine, float>();
  check_shapes<Engine, double>();
}

// Gramians of long rows are formed by halves, in stretches of the columns.
TEST_CASE_TEMPLATE("A times its own transpose, of long rows", T, float, double) {
  for (const index_t rows : {2, 3, 4, 5, 8, 13, 16, 33}) {
    for (const index_t cols : {index_t{1024}, index_t{1531}, index_t{17000}}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const index_t gap = rows % 2 * 3;
      vb::matrix<T> numbers(rows, cols + gap);
      for (index_t i = 0; i < numbers.size(); ++i) {
        numbers.data()[i] =
            static_cast<T>(vb::random_stream{5, 1}.normal(static_cast<std::uint64_t>(i)));
      }
      const auto a = std::as_const(numbers).view().col_range(0, cols);
      vb::matrix<T> one_thread;
      for (const int threads : {1, 2, 3, 7}) {
        vb::matrix<T> g(rows, rows, T(0.5));
        const vb::backend::product<T, vb::host_space> group[] = {{a, a, g.view()}};
        const vb::backend::basic_cpu<T> cpu(threads);
        cpu.multiply(vb::backend::transposition::nt, group, false);
        if (threads == 1) {
          one_thread = g;
        }
        CHECK(g == one_thread);
      }
      vb::matrix<T> onto(rows, rows, T(0.5));
      const vb::backend::product<T, vb::host_space> group[] = {{a, a, onto.view()}};
      vb::backend::basic_cpu<T>(2).multiply(vb::backend::transposition::nt, group, true);
      double worst = 0;
      for (index_t i = 0; i < rows; ++i) {
        for (index_t j = 0; j < rows; ++j) {
          double expected = 0;
          double scale = 0;
          for (index_t k = 0; k < cols; ++k) {
            const double term = static_cast<double>(a(i, k)) * static_cast<double>(a(j, k));
            expected += term;
            scale += std::abs(term);
          }
          const double limit = scale * std::numeric_limits<T>::epsilon() * 64;
          worst =
              std::max(worst, std::abs(static_cast<double>(one_thread(i, j)) - expected) / limit);
          CHECK(onto(i, j) == one_thread(i, j) + T(0.5));
          CHECK(one_thread(i, j) == one_thread(j, i));
        }
      }
      CHECK(worst < 1);
    }
  }
}

using engine::bf16_unit;
// On every unit that this program was compiled for; tiles fall back to registers, these to plain.
#define BF16_ENGINES                                                                        \
  engine::bf16<1>, engine::bf16<2>, engine::bf16<3>, engine::bf16<1, bf16_unit::registers>, \
      engine::bf16<2, bf16_unit::registers>, engine::bf16<3, bf16_unit::registers>,         \
      engine::bf16<1, bf16_unit::plain>, engine::bf16<2, bf16_unit::plain>,                 \
      engine::bf16<3, bf16_unit::plain>

TEST_CASE_TEMPLATE("bf16 computes S + A B for all shapes, to the precision of its parts", Engine,
                   BF16_ENGINES) {
  static_assert(vb::ProductEngine<Engine>);
  check_shapes<Engine, float>();
  for (const dimensions d : {dimensions{300, 290, 270}, {16, 512, 513}, {257, 33, 31}}) {
    check_all<Engine, float>(d, beginning::bias, true, 1);  // more than is copied at a time
    check_all<Engine, float>(d, beginning::itself, false, 0);
  }
}

TEST_CASE_TEMPLATE("bf16 rounds numbers to the nearest, to even ones in the middle", Engine,
                   BF16_ENGINES) {
  constexpr index_t n = 32;
  // 1 + k / 256: of k = 0 to 4, one part keeps 0, 0, 2, 4 and 4.
  const float kept[] = {1, 1, 1 + 0x2p-8F, 1 + 0x4p-8F, 1 + 0x4p-8F};
  std::vector<float> a(n * n, 0.0F);
  std::vector<float> b(n * n, 0.0F);
  std::vector<float> c(n * n);
  for (index_t i = 0; i < n; ++i) {
    b[static_cast<std::size_t>(i * n + i)] = i % 2 == 0 ? 1.0F : -2.0F;
    for (index_t k = 0; k < n; ++k) {
      a[static_cast<std::size_t>(i * n + k)] = 1 + static_cast<float>((i + k) % 5) * 0x1p-8F;
    }
  }
  Engine::template run<false, false, float>({a.data(), n, n}, {b.data(), n, n}, {},
                                            {c.data(), n, n}, false);
  const bool one_part = unit<Engine, float> == 0x1p-8;
  for (index_t i = 0; i < n; ++i) {
    for (index_t k = 0; k < n; ++k) {
      const auto at = static_cast<std::size_t>(i * n + k);
      CHECK(c[at] == (one_part ? kept[(i + k) % 5] : a[at]) * (k % 2 == 0 ? 1.0F : -2.0F));
    }
  }
}

TEST_CASE("bf16 passes infinite numbers on where it has one part, as its comment says") {
  const float infinite = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  const float a[] = {infinite, -infinite, largest, 1};
  const float b[] = {2};
  float c[4];
  engine::bf16<1>::run<false, false, float>({a, 4, 1}, {b, 1, 1}, {}, {c, 4, 1}, false);
  CHECK(c[0] == infinite);
  CHECK(c[1] == -infinite);
  CHECK(c[2] == infinite);
  CHECK(c[3] == 2);
  engine::bf16<2>::run<false, false, float>({a, 4, 1}, {b, 1, 1}, {}, {c, 4, 1}, false);
  CHECK(std::isnan(c[0]));
  CHECK(c[3] == 2);
}

TEST_CASE_TEMPLATE("an engine passes NaN on, also where it rectifies", Engine, engine::tiled,
                   engine::eigen, engine::bf16<1>, engine::bf16<3>,
                   engine::bf16<1, bf16_unit::registers>, engine::bf16<1, bf16_unit::plain>) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const index_t cols : {1, 5, 32, 40}) {
    framed<float> a(7, 9, 0, 1);
    const framed<float> b(9, cols, 0, 2);
    framed<float> c(7, cols, 0, 3);
    a.view(3, 4) = nan;
    Engine::template run<false, false, float>(a.view, b.view, {}, c.view, true);
    for (index_t r = 0; r < 7; ++r) {
      for (index_t j = 0; j < cols; ++j) {
        CHECK(std::isnan(c.view(r, j)) == (r == 3));
      }
    }
  }
}

namespace {

template <class Engine, bool TransposeA, bool TransposeB>
void check_independence(index_t cols, index_t depth) {
  constexpr index_t rows = 61;
  CAPTURE(cols);
  CAPTURE(depth);
  const auto a = TransposeA ? framed<float>(depth, rows, 0, 1) : framed<float>(rows, depth, 0, 1);
  const auto b = TransposeB ? framed<float>(cols, depth, 0, 2) : framed<float>(depth, cols, 0, 2);
  framed<float> all(rows, cols, 0, 3);
  Engine::template run<TransposeA, TransposeB, float>(a.view, b.view, {}, all.view, false);
  for (const index_t first : {0, 17, 60}) {
    for (const index_t count : {1, 2, 7, 30}) {
      if (first + count > rows) {
        continue;
      }
      const auto part =
          TransposeA ? a.view.col_range(first, count) : a.view.row_range(first, count);
      framed<float> some(count, cols, 0, 4);
      Engine::template run<TransposeA, TransposeB, float>(part, b.view, {}, some.view, false);
      for (index_t r = 0; r < count; ++r) {
        REQUIRE(std::memcmp(some.view.row(r), all.view.row(first + r),
                            static_cast<std::size_t>(cols) * sizeof(float)) == 0);
      }
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("the result of a row does not depend on the rows beside it", Engine,
                   engine::tiled, engine::bf16<1>, engine::bf16<3>,
                   engine::bf16<2, bf16_unit::registers>, engine::bf16<2, bf16_unit::plain>) {
  static_assert(Engine::independent_rows);
  for (const index_t cols : {1, 3, 10, 32, 100, 300, 1100}) {
    for (const index_t depth : {301, 1301}) {
      check_independence<Engine, false, false>(cols, depth);
      check_independence<Engine, false, true>(cols, depth);
      check_independence<Engine, true, false>(cols, depth);
      check_independence<Engine, true, true>(cols, depth);
    }
  }
}

TEST_CASE("registers of normal numbers have the bits of single ones, wherever the rows lie") {
  const vb::random_stream stream{7, vb::name_hash("normal")};
  const auto check = [&]<class T>(T sigma) {
    const vb::backend::basic_cpu<T> cpu(1);
    for (const index_t cols : {1, 31, 32, 1003}) {
      for (const index_t gap : {0, 5}) {  // with a gap between the rows, number by number
        framed<T> x(3, cols, gap, 1);
        framed<T> y(3, cols, gap, 2);
        for (index_t r = 0; r < 3; ++r) {
          std::fill_n(x.view.row(r), cols, T{0});
        }
        cpu.add_normal(x.view, sigma, stream, y.view);
        for (index_t r = 0; r < 3; ++r) {
          for (index_t j = 0; j < cols; ++j) {
            const double one = stream.normal(static_cast<std::uint64_t>(r * cols + j));
            REQUIRE(y.view(r, j) == sigma * static_cast<T>(one));
          }
        }
      }
    }
  };
  check(0.5F);
  check(0.5);
}

TEST_CASE("registers of numbers give what single numbers give: roots and a step of Adam") {
  constexpr index_t n = 1003;  // no multiple of any register
  std::vector<float> p(n), g(n), m(n, 0.0F), v(n, 0.0F);
  const vb::random_stream stream{5, vb::name_hash("adam")};
  for (std::size_t i = 0; i < n; ++i) {
    p[i] = static_cast<float>(stream.normal(i));
    g[i] = i % 13 == 0 ? 0.0F : static_cast<float>(stream.normal(n + i));
  }
  std::vector<float> p1 = p, m1 = m, v1 = v;
  const vb::backend::basic_cpu<float> cpu(1);
  const vb::backend::host<vb::backend::basic_cpu<float>, float>& plain = cpu;
  const vb::backend::adam_coefficients k{1e-3, 0.9, 0.999, 1e-8, 1e-2, 0.1, 0.001};
  for (int step = 0; step < 3; ++step) {
    cpu.adam_step({p.data(), n}, {g.data(), n}, 0.5F, {m.data(), n}, {v.data(), n}, k);
    plain.adam_step({p1.data(), n}, {g.data(), n}, 0.5F, {m1.data(), n}, {v1.data(), n}, k);
  }
  for (std::size_t i = 0; i < n; ++i) {
    // A compiler may fuse other multiplications and additions in one loop than in the other.
    CHECK(p[i] == doctest::Approx(p1[i]).epsilon(1e-6));
    CHECK(m[i] == doctest::Approx(m1[i]).epsilon(1e-6));
    CHECK(v[i] == doctest::Approx(v1[i]).epsilon(1e-6));
  }
  std::vector<float> x(static_cast<std::size_t>(vb::backend::detail::lanes<float>));
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i) / 3;
  }
  vb::backend::detail::lanes_of<float> roots = vb::backend::detail::at(x.data());
  vb::backend::detail::take_root<float>(roots);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float root = roots[i];
    CHECK(root == std::sqrt(x[i]));
  }
}
