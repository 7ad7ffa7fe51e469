// Runs the same computation on several backends and compares what it wrote.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/engine/bf16.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/core/matrix.hpp"
#if defined(VIERBEIN_TEST_CUDA)
#include "../cuda/on_device.hpp"
#endif

TYPE_TO_STRING(vierbein::backend::cpu);
TYPE_TO_STRING(vierbein::backend::cpu_double);
TYPE_TO_STRING(vierbein::backend::reference);
TYPE_TO_STRING(vierbein::backend::reference_double);

namespace backend_test {

namespace vb = vierbein;
using vb::index_t;

/// As exact as float, its products being of three parts each.
using cpu_by_bfloat16 = vb::backend::basic_cpu<float, vb::backend::engine::bf16<3>>;

/// The backends that the tests are stamped for: those in host memory with every scalar (the oracle
/// itself is tested in oracle_test.cpp), or in the tests of tests/cuda a device. Products are
/// formed in more than one way there.
#if defined(VIERBEIN_TEST_CUDA)
#define TESTED_BACKENDS backend_test::cuda, backend_test::cuda_double
#define TESTED_PRODUCTS TESTED_BACKENDS, backend_test::cuda_by_library
#else
#define TESTED_BACKENDS \
  vierbein::backend::cpu, vierbein::backend::cpu_double, vierbein::backend::reference
#define TESTED_PRODUCTS TESTED_BACKENDS, backend_test::cpu_by_bfloat16
#endif

struct shape {
  index_t rows, cols;
};

/// Nothing, single rows and columns, both sides of the 256 rows of a product's piece, and enough
/// elements for several chunks of 2^15 operations.
inline constexpr shape shapes[] = {{0, 5}, {1, 1},   {1, 7},   {6, 1},   {7, 3},
                                   {5, 7}, {257, 5}, {513, 2}, {513, 67}};

/// A matrix whose rows may lie further apart than they are long. What lies between them must never
/// be written.
template <class T>
struct table {
  static constexpr index_t gap = 3;
  static constexpr T untouched = T(-12345);

  index_t rows, cols, stride;
  vb::aligned_vector<T> elements;

  table(index_t r, index_t c, bool strided)
      : rows(r),
        cols(c),
        stride(strided ? c + gap : c),
        elements(static_cast<std::size_t>(r * stride + gap), untouched) {}

  vb::matrix_view<T> view() { return {elements.data(), rows, cols, stride}; }

  [[nodiscard]] bool gaps_untouched() const {
    for (std::size_t i = 0; i < elements.size(); ++i) {
      const auto k = static_cast<index_t>(i);
      const bool inside = stride > 0 && k < rows * stride && k % stride < cols;
      if (!inside && elements[i] != untouched) {
        return false;
      }
    }
    return true;
  }
};

/// The matrices of one run. Inputs are pseudo-random numbers that are exact in float, the same for
/// every scalar type as long as they are asked for in the same order.
template <class T>
class workspace {
 public:
  explicit workspace(bool strided) : strided_(strided) {}

  struct result {
    std::string name;
    double terms, size;
    table<T>* values;
  };

  /// Uniform on [low, high).
  vb::matrix_view<T> input(index_t rows, index_t cols, double low = -1, double high = 1) {
    table<T>& t = tables_.emplace_back(rows, cols, strided_);
    std::uint64_t state = tables_.size() << 32;
    for (index_t r = 0; r < rows; ++r) {
      for (index_t c = 0; c < cols; ++c) {  // splitmix64 (Steele, Lea, Flood 2014)
        std::uint64_t z = state += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        const double u = static_cast<double>(z >> 32) * 0x1p-32;
        t.view()(r, c) = static_cast<T>(static_cast<float>(low + (high - low) * u));
      }
    }
    return t.view();
  }

  /// A contiguous array like `input`.
  vb::array_view<T> flat_input(index_t size, double low = -1, double high = 1) {
    const bool strided = std::exchange(strided_, false);
    const auto view = input(1, size, low, high);
    strided_ = strided;
    return {view.data, size};
  }

  /// A destination, which holds random numbers at first. Each of its elements is computed from
  /// about `terms` terms of at most `size`.
  vb::matrix_view<T> output(std::string name, index_t rows, index_t cols, double terms = 1,
                            double size = 1) {
    const auto view = input(rows, cols);
    results_.push_back({std::move(name), terms, size, &tables_.back()});
    return view;
  }
  vb::array_view<T> flat_output(std::string name, index_t n, double terms = 1, double size = 1,
                                double low = -1) {
    const auto view = flat_input(n, low, 1);
    results_.push_back({std::move(name), terms, size, &tables_.back()});
    return view;
  }

  /// A number that the backend returned.
  void value(std::string name, double x, double terms = 1, double size = 1) {
    output(std::move(name), 1, 1, terms, size)(0, 0) = static_cast<T>(x);
  }

  /// Row numbers; they live as long as the workspace.
  vb::array_view<const std::int32_t> indices(std::vector<std::int32_t> numbers) {
    const auto& kept = indices_.emplace_back(std::move(numbers));
    return {kept.data(), static_cast<index_t>(kept.size())};
  }

  [[nodiscard]] bool strided() const { return strided_; }
  std::deque<table<T>>& tables() { return tables_; }
  std::vector<result>& results() { return results_; }

 private:
  bool strided_;
  std::deque<table<T>> tables_;
  std::deque<std::vector<std::int32_t>> indices_;
  std::vector<result> results_;
};

/// How far a value computed in T may be from the exact one. A sum of n random terms in [-s, s] has
/// partial sums below 4 s sqrt(n / 3) (four standard deviations), so each of its n additions errs
/// by at most 2 s eps sqrt(n / 3), and the errors, of either sign, add up to four times sqrt(n) of
/// that: 4.6 n s eps. Rounding 8 n s eps leaves room for the few operations that made a term, and
/// 8 |exact| eps for those that follow the sum.
///
/// Partial sums of n terms of one sign reach n s, which makes it 8 n sqrt(n) s eps: such a sum
/// states n sqrt(n) terms, and such a mean sqrt(n).
template <class T>
double tolerance(double terms, double size, double exact) {
  constexpr double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  return 8 * eps * (std::max(1.0, terms) * size + std::abs(exact));
}

/// Compares all results; NaN equals NaN.
template <class T>
void check_agreement(workspace<T>& found, workspace<double>& expected) {
  REQUIRE(found.results().size() == expected.results().size());
  for (table<T>& t : found.tables()) {
    CHECK(t.gaps_untouched());
  }
  for (std::size_t i = 0; i < found.results().size(); ++i) {
    const auto& f = found.results()[i];
    const auto& e = expected.results()[i];
    INFO(f.name);
    REQUIRE(f.name == e.name);
    double worst = 0;  // in units of the tolerance
    for (index_t r = 0; r < f.values->rows; ++r) {
      for (index_t c = 0; c < f.values->cols; ++c) {
        const double x = static_cast<double>(f.values->view()(r, c));
        const double y = e.values->view()(r, c);
        if (x != y && !(std::isnan(x) && std::isnan(y))) {
          const double ratio = std::abs(x - y) / tolerance<T>(f.terms, f.size, y);
          worst = ratio <= worst ? worst : ratio;  // keeps a NaN
        }
      }
    }
    CHECK(worst <= 1);
  }
}

/// Runs `f(backend, workspace)` on `backend` and on the oracle and compares their results.
template <class B, class F>
void agree(const B& backend, bool strided, F&& f) {
  workspace<typename B::scalar> found(strided);
  workspace<double> expected(strided);
  f(backend, found);
  f(vb::backend::reference_double{}, expected);
  check_agreement(found, expected);
}

/// A backend for the tests: three threads where there are threads.
template <class B>
B make_backend() {
  if constexpr (std::is_constructible_v<B, int>) {
    return B{3};
  } else {
    return B{};
  }
}

}  // namespace backend_test
