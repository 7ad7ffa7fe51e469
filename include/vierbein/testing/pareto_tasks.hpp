// Two quadratic tasks on the plane whose strong Pareto set is known.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace vierbein::testing {

/// A point of the plane, or a gradient there.
using plane_point = std::array<double, 2>;

/// Two tasks ℓ_t(x) = 1 + (x - u_t)ᵀ A_t (x - u_t) on x ∈ R², with A_t symmetric and positive
/// semidefinite, so ∇ℓ_t = 2 A_t (x - u_t). The losses begin at 1, for policies that take their
/// logarithm. The strong Pareto set holds the minima of w ℓ_1 + (1 - w) ℓ_2 for 0 < w < 1,
///     x(w) = (w A_1 + (1 - w) A_2)⁻¹ (w A_1 u_1 + (1 - w) A_2 u_2).
struct pareto_tasks {
  std::string name = {};
  std::array<std::array<double, 3>, 2> curvature = {};  ///< A_t as (a_00, a_01, a_11)
  std::array<plane_point, 2> minimum = {};              ///< u_t
  double rate = 0;  ///< learning rate at which d of the mean's length converges
  std::vector<plane_point> starts = {};

  [[nodiscard]] plane_point gradient(std::size_t task, plane_point x) const {
    const auto& a = curvature[task];
    const double dx = x[0] - minimum[task][0];
    const double dy = x[1] - minimum[task][1];
    return {2 * (a[0] * dx + a[1] * dy), 2 * (a[1] * dx + a[2] * dy)};
  }

  [[nodiscard]] double loss(std::size_t task, plane_point x) const {
    const plane_point g = gradient(task, x);
    return 1 + 0.5 * (g[0] * (x[0] - minimum[task][0]) + g[1] * (x[1] - minimum[task][1]));
  }

  /// x(w).
  [[nodiscard]] plane_point solution(double w) const {
    std::array<double, 3> a{};
    plane_point b{};
    for (std::size_t t = 0; t < 2; ++t) {
      const double share = t == 0 ? w : 1 - w;
      const auto& c = curvature[t];
      const auto& u = minimum[t];
      a = {a[0] + share * c[0], a[1] + share * c[1], a[2] + share * c[2]};
      b = {b[0] + share * (c[0] * u[0] + c[1] * u[1]), b[1] + share * (c[1] * u[0] + c[2] * u[1])};
    }
    const double determinant = a[0] * a[2] - a[1] * a[1];
    return {(b[0] * a[2] - b[1] * a[1]) / determinant, (a[0] * b[1] - a[1] * b[0]) / determinant};
  }

  /// The distance of x from the strong Pareto set, taken to be the polygon through x(w) at 1,201
  /// values of w that are dense towards 0 and 1.
  [[nodiscard]] double distance(plane_point x) const {
    double least = std::numeric_limits<double>::infinity();
    plane_point last = solution(1 / (1 + std::exp(12.0)));
    for (int i = -600; i <= 600; ++i) {
      const plane_point next = solution(1 / (1 + std::exp(-i / 50.0)));
      const double ex = next[0] - last[0];
      const double ey = next[1] - last[1];
      const double square = ex * ex + ey * ey;
      const double along = (x[0] - last[0]) * ex + (x[1] - last[1]) * ey;
      const double s = square > 0 ? std::clamp(along / square, 0.0, 1.0) : 0.0;
      least = std::min(least, std::hypot(x[0] - last[0] - s * ex, x[1] - last[1] - s * ey));
      last = next;
    }
    return least;
  }
};

/// Element-wise quadratic: ℓ_t = 1 + x_t². Both tasks are at rest at 0 alone. (EWQ in the plotted,
/// not asserted, trajectories of TorchJD, from which the three problems and their rates are.)
inline pareto_tasks element_wise_quadratic() {
  return {.name = "element-wise quadratic",
          .curvature = {{{1, 0, 0}, {0, 0, 1}}},
          .minimum = {},
          .rate = 0.075,
          .starts = {{3, -2}, {0.5, 8}}};
}

/// Two ill-conditioned forms that disagree about the first coordinate. (CQF)
inline pareto_tasks convex_quadratic_forms() {
  return {.name = "convex quadratic forms",
          .curvature = {{{1, 0.2, 0.05}, {3, -0.6, 0.2}}},
          .minimum = {{{1, 0}, {-1, 0}}},
          .rate = 0.125,
          .starts = {{0, 4}, {-3, 1}, {3, -2}}};
}

/// The same form twice, ten times as steep for the second task, with distant minima. (HQF)
inline pareto_tasks unequal_quadratic_forms() {
  return {.name = "unequal quadratic forms",
          .curvature = {{{2, -1, 2}, {20, -10, 20}}},
          .minimum = {{{1, 0}, {-10, 0}}},
          .rate = 0.005,
          .starts = {{-4, 6}, {5, 5}, {-8, -7}}};
}

inline std::vector<pareto_tasks> every_pareto_problem() {
  return {element_wise_quadratic(), convex_quadratic_forms(), unequal_quadratic_forms()};
}

}  // namespace vierbein::testing
