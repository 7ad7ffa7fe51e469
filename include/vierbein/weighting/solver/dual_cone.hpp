// Projection on the cone of directions that harm no task.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/solver/certificate.hpp"
#include "vierbein/weighting/solver/cosines.hpp"
#include "vierbein/weighting/solver/nonnegative.hpp"

namespace vierbein::weighting::solver {

/// v = argmin_{v ≥ u} vᵀGv, whose Jᵀv is the projection of Jᵀu on the dual cone {d : Jd ≥ 0} of the
/// gradients (Quinton and Rey 2024, Proposition 1). With v = u + z and lengths of gradients as
/// units it is a problem for nonnegative_quadratic, z ≥ 0, C z ≥ -C u. Exact; problems that share G
/// share the work.
///
/// Jᵀv is unique; v is not where gradients depend on each other linearly. A gradient that is 0
/// keeps v_t = u_t. When the projection is 0 to within G's precision, v = 0 is returned, which says
/// so without noise: this is the one case in which v ≥ u does not hold.
///
/// Residual: the largest |min(n_t z_t, (Gv)_t / n_t)| over Σ |u_t| n_t, with n_t = ‖g_t‖.
class dual_cone {
 public:
  /// The problems to come are about this G (T, T).
  void assign(gram_matrix g, double precision = double_precision) {
    precision_ = precision;
    unit_.assign(g);
    const std::size_t m = unit_.size();
    solver_.restart(m, precision);
    u_.resize(m);
    v_.resize(m);
    b_.resize(m);
    y_.resize(m);
    slack_.resize(m);
  }

  /// Assigns v (T) for u (T).
  certificate project(std::span<const double> u, std::span<double> v) {
    for (std::size_t i = 0; i < unit_.size(); ++i) {
      u_[i] = u[unit_.rows[i]] * unit_.lengths[i];
    }
    const certificate found = project_units(u_, v_);
    std::copy(u.begin(), u.end(), v.begin());
    for (std::size_t i = 0; i < unit_.size(); ++i) {
      const std::size_t t = unit_.rows[i];
      v[t] = vanishes_ ? 0 : (y_[i] > 0 ? v_[i] / unit_.lengths[i] : u[t]);
    }
    return found;
  }

  /// The same in units of the gradients' lengths, over those that are not 0: n_t v_t (m) for n_t
  /// u_t (m), elements as in `unit()`. Leaves v as it is found when the projection vanishes.
  certificate project_units(std::span<const double> u, std::span<double> v) {
    const std::size_t m = unit_.size();
    double size = 0;
    std::fill(slack_.begin(), slack_.end(), 0.0);
    for (std::size_t i = 0; i < m; ++i) {
      size += std::abs(u[i]);
      add_row(i, u[i]);
    }
    for (std::size_t j = 0; j < m; ++j) {
      b_[j] = -slack_[j];
    }
    solver_.solve(unit_.c.view(), b_, size, y_);
    double total = size;
    for (const std::size_t p : solver_.passive()) {
      total += y_[p];
      add_row(p, y_[p]);
    }
    certificate found{.iterations = solver_.iterations()};
    double worst = 0;
    square_ = 0;
    for (std::size_t j = 0; j < m; ++j) {
      v[j] = u[j] + y_[j];
      worst = std::max(worst, std::abs(std::min(y_[j], slack_[j])));
      square_ += u[j] * slack_[j];  // ‖d‖² = d · Jᵀu, as d is a projection of Jᵀu on a cone
    }
    vanishes_ = negligible_square(square_, size, total, precision_);
    found.residual = size > 0 ? worst / size : 0;
    found.converged = found.residual <= 1e-9 + 1e3 * precision_;
    return found;
  }

  /// Whether the last projection was 0 to within G's precision.
  [[nodiscard]] bool vanishes() const { return vanishes_; }
  /// ‖Jᵀv‖² of the last projection.
  [[nodiscard]] double square() const { return square_; }
  [[nodiscard]] const cosines& unit() const { return unit_; }

 private:
  // slack, which becomes C (u + y), that is Jd in these units.
  void add_row(std::size_t i, double factor) {
    if (factor != 0) {
      const double* const row = unit_.c.view().row(static_cast<index_t>(i));
      for (std::size_t j = 0; j < slack_.size(); ++j) {
        slack_[j] += factor * row[j];
      }
    }
  }

  double precision_ = double_precision;
  bool vanishes_ = false;
  double square_ = 0;
  cosines unit_;
  nonnegative_quadratic solver_;
  std::vector<double> u_, v_, b_, y_, slack_;
};

}  // namespace vierbein::weighting::solver
