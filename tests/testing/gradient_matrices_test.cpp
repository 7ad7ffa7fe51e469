#include "vierbein/testing/gradient_matrices.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

using doctest::Approx;
using vierbein::error;
using vierbein::index_t;
using vierbein::matrix;
using vierbein::random_stream;
using namespace vierbein::testing;

namespace {

// The largest step t ≤ 1 for which some d with ‖d‖ ≤ 1 has J d ≥ t, by projected subgradient steps;
// positive only when J is not weakly stationary.
double common_descent(const matrix<double>& j) {
  std::vector<double> d(static_cast<std::size_t>(j.cols()), 0.0);
  double best = 0;
  for (int step = 1; step <= 4000; ++step) {
    const auto slopes = along(j, d);
    const auto worst = std::min_element(slopes.begin(), slopes.end());
    best = std::max(best, *worst);
    const auto row = j.row(static_cast<index_t>(worst - slopes.begin()));
    for (std::size_t p = 0; p < d.size(); ++p) {
      d[p] += row[p] / std::sqrt(step);
    }
    const double length = norm_of(d);
    for (double& x : d) {
      x /= std::max(1.0, length);
    }
  }
  return best;
}

}  // namespace

TEST_CASE("every kind of matrix is what it is called") {
  for (const stationarity kind : every_stationarity) {
    CAPTURE(name(kind));
    const index_t rank = largest_rank(kind, 5, 4);
    const matrix<double> j = gradient_matrix(kind, 5, 4, rank, {7, 1});
    CHECK(j == gradient_matrix(kind, 5, 4, rank, {7, 1}));
    CHECK_FALSE(j == gradient_matrix(kind, 5, 4, rank, {8, 1}));
    if (kind == stationarity::non_weak) {
      CHECK(common_descent(j) > 1e-2);
    } else if (kind != stationarity::normal) {
      CHECK(common_descent(j) < 1e-12);
    }
  }
}

TEST_CASE("strictly weak: the first tasks cancel and the others can all be improved") {
  const matrix<double> j =
      gradient_matrix(stationarity::strictly_weak, 6, 9, 5, random_stream{3, 2});
  // Jᵀv = 0 with v > 0 on the first half and 0 elsewhere: that half has no common descent.
  matrix<double> first(3, 9);
  matrix<double> last(3, 9);
  for (index_t t = 0; t < 3; ++t) {
    std::copy(j.row(t).begin(), j.row(t).end(), first.row(t).begin());
    std::copy(j.row(t + 3).begin(), j.row(t + 3).end(), last.row(t).begin());
  }
  CHECK(common_descent(first) < 1e-12);
  CHECK(common_descent(last) > 1e-3);
}

TEST_CASE("strong: no direction that harms nobody helps anybody") {
  // With Jᵀv = 0, v > 0: J d ≥ 0 and v · J d = 0 give J d = 0. Here for T = 2, where J has rank 1
  // and its rows are opposed.
  const matrix<double> j = gradient_matrix(stationarity::strong, 2, 3, 1, random_stream{3, 2});
  const matrix<double> g = gram_of(j);
  CHECK(g(0, 1) == Approx(-std::sqrt(g(0, 0) * g(1, 1))));
}

TEST_CASE("a rank is what it says, and another is refused") {
  const matrix<double> j = gradient_matrix(stationarity::normal, 4, 6, 2, random_stream{1, 1});
  const matrix<double> g = gram_of(j);
  // Every 3 x 3 minor of G is 0.
  const auto minor = g(0, 0) * (g(1, 1) * g(2, 2) - g(1, 2) * g(2, 1)) -
                     g(0, 1) * (g(1, 0) * g(2, 2) - g(1, 2) * g(2, 0)) +
                     g(0, 2) * (g(1, 0) * g(2, 1) - g(1, 1) * g(2, 0));
  CHECK(std::abs(minor) < 1e-15);
  CHECK(std::abs(g(0, 0) * g(1, 1) - g(0, 1) * g(0, 1)) > 1e-6);
  CHECK_THROWS_WITH_AS(
      gradient_matrix(stationarity::strong, 3, 6, 3, random_stream{}),
      "testing::gradient_matrix: the rank of a strong matrix of 3 x 6 must be between 1 and 2, but "
      "is 3",
      error);
}

TEST_CASE("G, Jᵀw and J d by hand") {
  matrix<double> j(2, 3);
  const double values[] = {-4, 1, 1, 6, 1, 1};
  std::copy(std::begin(values), std::end(values), j.data());
  const matrix<double> g = gram_of(j);
  CHECK((g(0, 0) == 18 && g(0, 1) == -22 && g(1, 0) == -22 && g(1, 1) == 38));
  CHECK(combine(j, std::vector<double>{2, 1}) == std::vector<double>{-2, 3, 3});
  CHECK(along(j, std::vector<double>{1, 0, 2}) == std::vector<double>{-2, 8});
  CHECK(scaled(j, 2)(1, 0) == 12);
  CHECK(norm_of(std::vector<double>{3, 4}) == 5);
}
