#include "vierbein/testing/pareto_tasks.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/testing/weighting_example.hpp"

using doctest::Approx;
using namespace vierbein::testing;

TEST_CASE("the gradients of the problems on the plane are the slopes of their losses") {
  for (const pareto_tasks& p : every_pareto_problem()) {
    CAPTURE(p.name);
    for (std::size_t t = 0; t < 2; ++t) {
      CHECK(p.loss(t, p.minimum[t]) == 1);
      for (const plane_point& x : p.starts) {
        CHECK(p.loss(t, x) > 1);
        constexpr double h = 1e-5;
        const plane_point g = p.gradient(t, x);
        CHECK((p.loss(t, {x[0] + h, x[1]}) - p.loss(t, {x[0] - h, x[1]})) / (2 * h) ==
              Approx(g[0]).epsilon(1e-6));
        CHECK((p.loss(t, {x[0], x[1] + h}) - p.loss(t, {x[0], x[1] - h})) / (2 * h) ==
              Approx(g[1]).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("on the strong Pareto set a positive combination of the gradients is 0") {
  for (const pareto_tasks& p : every_pareto_problem()) {
    CAPTURE(p.name);
    for (const double w : {0.01, 0.3, 0.9}) {
      const plane_point x = p.solution(w);
      const plane_point a = p.gradient(0, x);
      const plane_point b = p.gradient(1, x);
      CHECK(std::abs(w * a[0] + (1 - w) * b[0]) < 1e-12);
      CHECK(std::abs(w * a[1] + (1 - w) * b[1]) < 1e-12);
      CHECK(p.distance(x) < 1e-4);
    }
    CHECK(p.distance(p.starts[0]) > 0.5);
  }
  // Known by hand: the set of the element-wise quadratic is the origin, and that of two equal forms
  // the segment between their minima.
  CHECK(element_wise_quadratic().distance({3, 4}) == Approx(5));
  CHECK(unequal_quadratic_forms().distance({-4, 6}) == Approx(6).epsilon(1e-6));
}

TEST_CASE("an example is made small while it fails") {
  weighting_example e;
  e.names = {"a", "b", "c"};
  e.losses = {0.37, 2.11, 1.3};
  e.j = vierbein::matrix<double>(3, 3);
  const double entries[] = {0.31, -1.7, 0.2, 0.9, 4.4, -0.3, 1.1, 0.5, 2.6};
  std::copy(std::begin(entries), std::end(entries), e.j.data());
  CHECK(e.reordered({2, 0, 1}).text() ==
        "losses (1.3, 0.37, 2.11), J = [(1.1, 0.5, 2.6), (0.31, -1.7, 0.2), (0.9, 4.4, -0.3)]");
  // Fails while some entry is negative.
  const auto negative = [](const weighting_example& x) {
    for (vierbein::index_t i = 0; i < x.j.size(); ++i) {
      if (x.j.data()[i] < 0) {
        return true;
      }
    }
    return false;
  };
  CHECK(shrink(e, negative).text() == "losses (1), J = [(-1)]");
  CHECK(shrink(e, negative, 2).text() == "losses (1, 1), J = [(-1), (0)]");
  CHECK(shrink(e, negative, 1, "c").text() == "losses (1, 1), J = [(-1), (0)]");
  CHECK(shrink(e, [](const auto&) { return false; }).text() == e.text());
}
