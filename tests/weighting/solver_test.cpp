// The solvers of the weighting policies: against their conditions of optimality, against
// enumeration where that is possible, and at every scale.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "vierbein/core/random.hpp"
#include "vierbein/testing/gradient_matrices.hpp"
#include "vierbein/weighting/solver/conflict_averse.hpp"
#include "vierbein/weighting/solver/dual_cone.hpp"
#include "vierbein/weighting/solver/eigen.hpp"
#include "vierbein/weighting/solver/fair_allocation.hpp"
#include "vierbein/weighting/solver/min_norm.hpp"
#include "vierbein/weighting/solver/simplex.hpp"

using doctest::Approx;
using vierbein::index_t;
using vierbein::matrix;
using vierbein::random_stream;
namespace solver = vierbein::weighting::solver;
namespace testing = vierbein::testing;
using testing::stationarity;
using vec = std::vector<double>;

namespace {

constexpr double scales[] = {1e-12, 1e-6, 1, 1e6, 1e12};

vec numbers(std::size_t n, std::uint64_t stream) {
  vec x(n);
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = random_stream{5, stream}.normal(i);
  }
  return x;
}

// Jacobians of every kind, a few shapes each.
void each_matrix(const std::function<void(const matrix<double>&, stationarity)>& check) {
  std::uint64_t stream = 0;
  for (const stationarity kind : testing::every_stationarity) {
    for (const auto& [tasks, parameters] :
         {std::pair<index_t, index_t>{2, 3}, {3, 3}, {4, 9}, {5, 2}, {9, 11}, {20, 30}, {30, 20}}) {
      const index_t largest = testing::largest_rank(kind, tasks, parameters);
      for (const index_t rank : {largest, (largest + 1) / 2}) {
        CAPTURE(testing::name(kind));
        CAPTURE(tasks);
        CAPTURE(parameters);
        CAPTURE(rank);
        check(testing::gradient_matrix(kind, tasks, parameters, rank, {11, ++stream}), kind);
      }
    }
  }
}

double quadratic(const matrix<double>& g, const vec& x) {
  double sum = 0;
  for (index_t i = 0; i < g.rows(); ++i) {
    for (index_t j = 0; j < g.rows(); ++j) {
      sum += x[static_cast<std::size_t>(i)] * g(i, j) * x[static_cast<std::size_t>(j)];
    }
  }
  return sum;
}

// The least of f over a grid on the simplex of T = 3, with refinement around the best.
double least_on_simplex(const std::function<double(const vec&)>& f) {
  vec best{1, 0, 0};
  double least = f(best);
  double width = 1;
  for (int level = 0; level < 40; ++level) {
    const vec centre = best;
    for (int a = -10; a <= 10; ++a) {
      for (int b = -10; b <= 10; ++b) {
        vec w{centre[0] + width * a / 10, centre[1] + width * b / 10, 0};
        w[2] = 1 - w[0] - w[1];
        if (*std::min_element(w.begin(), w.end()) >= 0 && f(w) < least) {
          least = f(w);
          best = w;
        }
      }
    }
    width *= 0.5;
  }
  return least;
}

double largest_difference(const vec& a, const vec& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]));
  }
  return most;
}

}  // namespace

// ---- simplex

TEST_CASE("the projection on the simplex meets its conditions") {
  vec room(64);
  const auto project = [&](vec& y) {
    solver::project_to_simplex(y, std::span(room).first(y.size()));
  };
  vec y{0.5, 0.2, -3};
  project(y);
  CHECK(largest_difference(y, {0.65, 0.35, 0}) < 1e-15);
  y = {7};
  project(y);
  CHECK(y == vec{1});
  y = {};
  project(y);
  y = {1e16, 1e16};
  project(y);
  CHECK(y == vec{0.5, 0.5});
  for (const std::size_t n : {2UL, 5UL, 64UL}) {
    const vec from = numbers(n, n);
    vec x = from;
    project(x);
    CHECK(std::accumulate(x.begin(), x.end(), 0.0) == Approx(1).epsilon(1e-14));
    // x = y - τ on the support, y ≤ τ elsewhere.
    double tau = 0;
    for (std::size_t i = 0; i < n; ++i) {
      tau = x[i] > 0 ? from[i] - x[i] : tau;
    }
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(x[i] >= 0);
      CHECK((x[i] > 0 ? std::abs(from[i] - x[i] - tau) < 1e-14 : from[i] <= tau + 1e-14));
    }
  }
}

// ---- eigenvalues

TEST_CASE("eigenvalues and vectors give the matrix back") {
  solver::symmetric_eigen eigen;
  each_matrix([&](const matrix<double>& j, stationarity) {
    const matrix<double> g = testing::gram_of(j);
    eigen.assign(g.view());
    const double largest = eigen.values().back();
    double off = 0;
    double skew = 0;
    for (index_t r = 0; r < g.rows(); ++r) {
      for (index_t c = 0; c < g.rows(); ++c) {
        double sum = 0;
        double product = 0;
        for (std::size_t k = 0; k < eigen.size(); ++k) {
          const auto q = eigen.vector(k);
          sum +=
              eigen.values()[k] * q[static_cast<std::size_t>(r)] * q[static_cast<std::size_t>(c)];
          product += eigen.vector(static_cast<std::size_t>(r))[k] *
                     eigen.vector(static_cast<std::size_t>(c))[k];
        }
        off = std::max(off, std::abs(sum - g(r, c)));
        skew = std::max(skew, std::abs(product - (r == c ? 1 : 0)));
      }
    }
    CHECK(off < 1e-14 * largest * static_cast<double>(g.rows()));
    CHECK(skew < 1e-13);
    CHECK(std::is_sorted(eigen.values().begin(), eigen.values().end()));
  });
}

TEST_CASE("eigenvalues by hand, at every scale") {
  solver::symmetric_eigen eigen;
  for (const double s : {1e-300, 1e-24, 1.0, 1e24, 1e300}) {
    matrix<double> a(3, 3, 0.0);  // 1, 3 and 7
    a(0, 0) = a(2, 2) = 2 * s;
    a(0, 2) = a(2, 0) = -1 * s;
    a(1, 1) = 7 * s;
    eigen.assign(a.view());
    CHECK(eigen.values()[0] == Approx(s).epsilon(1e-14));
    CHECK(eigen.values()[1] == Approx(3 * s).epsilon(1e-14));
    CHECK(eigen.values()[2] == Approx(7 * s).epsilon(1e-14));
    CHECK(std::abs(eigen.vector(0)[0] - eigen.vector(0)[2]) < 1e-15);
  }
  const matrix<double> zero(4, 4, 0.0);
  eigen.assign(zero.view());
  CHECK(eigen.values()[3] == 0);
  const matrix<double> one(1, 1, 5.0);
  eigen.assign(one.view());
  CHECK(eigen.values()[0] == 5);
  CHECK(std::abs(eigen.vector(0)[0]) == 1);
}

TEST_CASE("the pseudo-inverse: the shortest of the least-squares solutions") {
  solver::pseudo_inverse inverse;
  vec x(3);
  matrix<double> a(3, 3, 0.0);  // rank 2: [1 1; 1 1] and 4
  a(0, 0) = a(0, 1) = a(1, 0) = a(1, 1) = 1;
  a(2, 2) = 4;
  auto found = inverse.solve(a.view(), vec{1, 0, 2}, x);
  CHECK(largest_difference(x, {0.25, 0.25, 0.5}) < 1e-15);
  CHECK(found.residual == Approx(0.25));  // (1, 0) is not in the range: ½ stays, of 2
  CHECK_FALSE(found.converged);
  // Of full rank, however different the rows' units.
  for (const double s : {1e-9, 1.0, 1e9}) {
    matrix<double> b(2, 2);
    b(0, 0) = 2 * s * s;
    b(0, 1) = b(1, 0) = s;
    b(1, 1) = 1;
    vec y(2);
    found = inverse.solve(b.view(), vec{s, 3}, y);
    CHECK(y[0] * s == Approx(-2).epsilon(1e-13));
    CHECK(y[1] == Approx(5).epsilon(1e-13));
    CHECK(found.converged);
  }
}

// ---- the minimum-norm point

TEST_CASE("the minimum-norm point meets its conditions at every scale") {
  solver::min_norm shortest;
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    vec first;
    for (const double s : scales) {
      const matrix<double> scaled = testing::scaled(j, s);
      vec w(static_cast<std::size_t>(j.rows()));
      const auto found = shortest.solve(testing::gram_of(scaled).view(), w);
      CHECK(found.converged);
      CHECK(found.residual < 1e-12);
      CHECK(*std::min_element(w.begin(), w.end()) >= 0);
      CHECK(std::accumulate(w.begin(), w.end(), 0.0) == Approx(1).epsilon(1e-13));
      // Independently of the certificate: no gradient has a smaller product with x than x itself.
      const vec x = testing::combine(scaled, w);
      const double size = testing::norm_of({scaled.data(), static_cast<std::size_t>(j.size())});
      for (const double product : testing::along(scaled, x)) {
        CHECK(product - testing::norm_of(x) * testing::norm_of(x) >= -1e-13 * size * size);
      }
      if (kind == stationarity::strong || kind == stationarity::strictly_weak) {
        CHECK(testing::norm_of(x) < 1e-7 * size);
      }
      if (first.empty()) {
        first = testing::combine(j, w);
      } else {
        CHECK(largest_difference(first, testing::combine(j, w)) <
              1e-9 * testing::norm_of({j.data(), static_cast<std::size_t>(j.size())}));
      }
    }
  });
}

TEST_CASE("the minimum-norm point of three gradients is that of a search") {
  solver::min_norm shortest;
  for (std::uint64_t k = 0; k < 10; ++k) {
    const auto j = testing::gradient_matrix(stationarity::normal, 3, 5, 3, {2, k});
    const auto g = testing::gram_of(j);
    vec w(3);
    shortest.solve(g.view(), w);
    const double least = least_on_simplex([&](const vec& v) { return quadratic(g, v); });
    CHECK(quadratic(g, w) == Approx(least).epsilon(1e-8));
    CHECK(quadratic(g, w) <= least * (1 + 1e-12));
  }
}

TEST_CASE("the minimum-norm point where it is degenerate") {
  solver::min_norm shortest;
  const auto solve = [&](const std::vector<vec>& rows) {
    matrix<double> j(static_cast<index_t>(rows.size()), static_cast<index_t>(rows[0].size()));
    for (index_t t = 0; t < j.rows(); ++t) {
      std::copy(rows[static_cast<std::size_t>(t)].begin(), rows[static_cast<std::size_t>(t)].end(),
                j.row(t).begin());
    }
    vec w(rows.size());
    CHECK(shortest.solve(testing::gram_of(j).view(), w).converged);
    CHECK(std::accumulate(w.begin(), w.end(), 0.0) == Approx(1));
    return w;
  };
  CHECK(solve({{3, 4}}) == vec{1});
  CHECK(solve({{0, 0}, {1, 0}}) == vec{1, 0});
  CHECK(solve({{0, 0}, {0, 0}}) == vec{0.5, 0.5});
  CHECK(largest_difference(solve({{2, 0}, {-6, 0}}), {0.75, 0.25}) < 1e-15);
  CHECK(largest_difference(solve({{1, 0}, {0, 1e-8}}), {1e-16, 1}) < 1e-15);
  CHECK(solve({{1, 0}, {0, 1e-8}})[0] == Approx(1e-16).epsilon(1e-12));
  CHECK(solve({{1, 2}, {3, 1}, {3, 1}})[0] == Approx(1));
  const vec three = solve({{1, 0}, {-1, 1}, {-1, -1}});  // 0 inside: ½, ¼, ¼
  CHECK(largest_difference(three, {0.5, 0.25, 0.25}) < 1e-14);
}

// ---- the dual cone

TEST_CASE("projections on the dual cone meet their conditions at every scale") {
  solver::dual_cone cone;
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    const auto tasks = static_cast<std::size_t>(j.rows());
    vec all(tasks);
    for (std::size_t t = 0; t < tasks; ++t) {
      all[t] = 0.1 + std::abs(numbers(tasks, 3)[t]);
    }
    for (const double s : scales) {
      const matrix<double> scaled = testing::scaled(j, s);
      const matrix<double> g = testing::gram_of(scaled);
      cone.assign(g.view());
      for (std::size_t which = 0; which <= tasks; ++which) {
        vec u = all;
        if (which < tasks) {
          u.assign(tasks, 0.0);
          u[which] = 2;
        }
        vec v(tasks);
        const auto found = cone.project(u, v);
        CHECK(found.converged);
        CHECK(found.residual < 1e-10);
        if (cone.vanishes()) {
          for (std::size_t t = 0; t < tasks; ++t) {
            const auto k = static_cast<index_t>(t);
            CHECK(v[t] == (g(k, k) > 0 ? 0 : u[t]));
          }
          CHECK(kind != stationarity::non_weak);
          continue;
        }
        const vec d = testing::combine(scaled, v);
        const vec slopes = testing::along(scaled, d);
        const double before = testing::norm_of(testing::combine(scaled, u));
        for (std::size_t t = 0; t < tasks; ++t) {
          const double length = std::sqrt(g(static_cast<index_t>(t), static_cast<index_t>(t)));
          CHECK(v[t] >= u[t]);
          CHECK(slopes[t] >= -1e-8 * length * testing::norm_of(d));
          CHECK((v[t] - u[t]) * std::abs(slopes[t]) <= 1e-7 * before * testing::norm_of(d));
        }
      }
    }
  });
}

TEST_CASE("a projection on the dual cone is the best of all active sets") {
  // For T = 4 every set P of positive z is tried: C_PP z_P = -(Cu)_P by Gauss elimination.
  solver::dual_cone cone;
  for (std::uint64_t k = 0; k < 20; ++k) {
    const auto j = testing::gradient_matrix(stationarity::normal, 4, 6, 4, {3, k});
    const auto g = testing::gram_of(j);
    const vec u{1, 0.5, 2, 0.25};
    double least = std::numeric_limits<double>::infinity();
    for (unsigned set = 0; set < 16; ++set) {
      matrix<double> a(4, 5, 0.0);
      for (index_t r = 0; r < 4; ++r) {
        for (index_t c = 0; c < 4; ++c) {
          const bool in = (set >> r & 1U) != 0 && (set >> c & 1U) != 0;
          a(r, c) = in ? g(r, c) : (r == c ? 1.0 : 0.0);
          a(r, 4) -= (set >> r & 1U) != 0 ? g(r, c) * u[static_cast<std::size_t>(c)] : 0;
        }
      }
      for (index_t p = 0; p < 4; ++p) {
        for (index_t r = 0; r < 4; ++r) {
          const double factor = r == p ? 0 : a(r, p) / a(p, p);
          for (index_t c = p; c < 5; ++c) {
            a(r, c) -= factor * a(p, c);
          }
        }
      }
      vec v = u;
      bool feasible = true;
      for (index_t r = 0; r < 4; ++r) {
        const double z = a(r, 4) / a(r, r);
        feasible = feasible && z >= 0;
        v[static_cast<std::size_t>(r)] += z;
      }
      if (feasible) {
        least = std::min(least, quadratic(g, v));
      }
    }
    vec v(4);
    cone.assign(g.view());
    cone.project(u, v);
    CHECK(quadratic(g, v) == Approx(least).epsilon(1e-12));
  }
}

TEST_CASE("the dual cone where it is degenerate") {
  solver::dual_cone cone;
  vec v(2);
  matrix<double> g(2, 2, 0.0);
  cone.assign(g.view());
  CHECK(cone.project(vec{1, 2}, v).residual == 0);
  CHECK(v == vec{1, 2});
  g(1, 1) = 4;  // the first gradient is 0
  cone.assign(g.view());
  cone.project(vec{1, 2}, v);
  CHECK(v == vec{1, 2});
  g(0, 0) = 1;
  g(0, 1) = g(1, 0) = -2;  // opposed: nothing harms neither
  cone.assign(g.view());
  cone.project(vec{1, 2}, v);
  CHECK(cone.vanishes());
  CHECK(v == vec{0, 0});
  g(0, 1) = g(1, 0) = 2;  // equal directions
  cone.assign(g.view());
  cone.project(vec{1, 2}, v);
  CHECK(v == vec{1, 2});
}

// ---- Nash and FairGrad

TEST_CASE("fair allocations solve their equation at every scale") {
  solver::fair_allocation fair;
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    for (const double a : {0.1, 0.5, 1.0, 2.0, 10.0}) {
      CAPTURE(a);
      for (const double s : scales) {
        const matrix<double> g = testing::gram_of(testing::scaled(j, s));
        vec w(static_cast<std::size_t>(j.rows()));
        const auto found = fair.solve(g.view(), a, w);
        CHECK((found.converged || kind != stationarity::non_weak));
        if (kind == stationarity::strong) {
          CHECK(w == vec(w.size(), 0.0));
          continue;
        }
        if (w == vec(w.size(), 0.0)) {
          CHECK((kind == stationarity::normal || kind == stationarity::strong));  // of low rank
          continue;
        }
        CHECK(found.iterations < 60);
        for (index_t t = 0; t < j.rows(); ++t) {
          CHECK((w[static_cast<std::size_t>(t)] > 0) == (g(t, t) > 0));
        }
        const bool hard = found.residual > 1e-9;
        CHECK_FALSE((hard && kind == stationarity::non_weak));
      }
    }
  });
}

TEST_CASE("fair allocations by hand") {
  solver::fair_allocation fair;
  vec w(2);
  matrix<double> g(2, 2, 0.0);
  g(0, 0) = 4;
  g(1, 1) = 9;
  fair.solve(g.view(), 1, w);  // 4 w = 1 / w
  CHECK(largest_difference(w, {0.5, 1.0 / 3}) < 1e-14);
  fair.solve(g.view(), 0.5, w);  // 4 w = w^-2
  CHECK(largest_difference(w, {std::cbrt(0.25), std::cbrt(1.0 / 9)}) < 1e-14);
  g(1, 1) = 0;
  fair.solve(g.view(), 1, w);
  CHECK(largest_difference(w, {0.5, 0}) < 1e-15);
  g(0, 0) = 0;
  CHECK(fair.solve(g.view(), 1, w).converged);
  CHECK(w == vec{0, 0});
}

// ---- CAGrad

TEST_CASE("the conflict-averse direction meets the conditions of the published problem") {
  solver::conflict_averse solve;
  each_matrix([&](const matrix<double>& j, stationarity kind) {
    for (const double c : {0.2, 0.5, 1.0, 3.0}) {
      CAPTURE(c);
      vec first;
      for (const double s : scales) {
        const matrix<double> scaled = testing::scaled(j, s);
        vec w(static_cast<std::size_t>(j.rows()));
        const auto found = solve.solve(testing::gram_of(scaled).view(), c, w);
        CHECK(found.converged);
        CHECK(found.residual < 1e-10);
        if (c >= 1 && testing::norm_of(testing::combine(j, w)) == 0) {
          CHECK(kind != stationarity::non_weak);
          continue;
        }
        CHECK_FALSE((kind == stationarity::strong && c >= 1));
        CHECK(*std::min_element(w.begin(), w.end()) >= 1 / static_cast<double>(w.size()));
        // Within the ball, and on its rim unless some v ≥ 0, v ≠ 0 has Jᵀv = 0.
        const vec mean(w.size(), 1 / static_cast<double>(w.size()));
        vec away = w;
        for (double& v : away) {
          v -= mean[0];
        }
        const double radius = c * testing::norm_of(testing::combine(scaled, mean));
        const double length = testing::norm_of(testing::combine(scaled, away));
        CHECK(length <= radius * (1 + 1e-7));
        if (kind == stationarity::non_weak) {
          CHECK(length >= radius * (1 - 1e-7));
        }
        const vec d = testing::combine(j, w);
        if (first.empty()) {
          first = d;
        } else {
          CHECK(largest_difference(first, d) < 1e-7 * testing::norm_of(testing::combine(j, mean)));
        }
      }
    }
  });
}

TEST_CASE("the conflict-averse direction of three gradients has the dual value of a search") {
  // By duality max min_t g_t · d = min over the simplex of wᵀG1/T + c ‖g_0‖ √(wᵀGw).
  solver::conflict_averse solve;
  for (std::uint64_t k = 0; k < 10; ++k) {
    for (const double c : {0.3, 0.9, 2.0}) {
      const auto j = testing::gradient_matrix(stationarity::normal, 3, 5, 3, {4, k});
      const auto g = testing::gram_of(j);
      const vec mean = testing::combine(j, vec(3, 1.0 / 3));
      const vec products = testing::along(j, mean);
      vec w(3);
      solve.solve(g.view(), c, w);
      const vec reached = testing::along(j, testing::combine(j, w));
      const double least = least_on_simplex([&](const vec& v) {
        return std::inner_product(v.begin(), v.end(), products.begin(), 0.0) +
               c * testing::norm_of(mean) * std::sqrt(quadratic(g, v));
      });
      CHECK(*std::min_element(reached.begin(), reached.end()) == Approx(least).epsilon(1e-7));
    }
  }
}

TEST_CASE("the conflict-averse direction where it is degenerate") {
  solver::conflict_averse solve;
  vec w(2);
  matrix<double> g(2, 2, 0.0);
  solve.solve(g.view(), 0.5, w);
  CHECK(w == vec{0.5, 0.5});
  g(0, 0) = g(1, 1) = 1;
  g(0, 1) = g(1, 0) = -1;  // g_0 = 0
  solve.solve(g.view(), 0.5, w);
  CHECK(w == vec{0.5, 0.5});
  g(1, 1) = 4;
  g(0, 1) = g(1, 0) = -2;  // opposed, 1 and -2: g_0 = -½, and with c = ½ d = -¼
  CHECK(solve.solve(g.view(), 0.5, w).converged);
  CHECK(w[0] - 2 * w[1] == Approx(-0.25));
  solve.solve(g.view(), 1, w);  // d = 0 is within reach
  CHECK(w == vec{0, 0});
  g(0, 0) = g(0, 1) = g(1, 0) = 0;  // one gradient is 0: nothing can be done for its task
  solve.solve(g.view(), 0.5, w);
  CHECK(w == vec{0.5, 0.5});
}
