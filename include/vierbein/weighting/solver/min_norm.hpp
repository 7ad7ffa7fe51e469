// The shortest vector in the convex hull of the gradients.
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

/// w = argmin wᵀGw over w ≥ 0, Σ w = 1 (Wolfe 1976). The condition of the minimum, (Gw)_t ≥ wᵀGw
/// with equality where w_t > 0, is solved up to a factor by z ≥ 0, Gz ≥ 1, zᵀ(Gz - 1) = 0, the
/// problem of nonnegative_quadratic in units of the gradients' lengths; w = z / Σ z. Exact, also
/// where one gradient is many orders shorter than another. Where 0 is in the hull, w is a
/// combination that gives it.
///
/// Jᵀw is unique; w is not where gradients depend on each other linearly. Gradients that are 0
/// share w equally.
///
/// Residual: the largest |min(w_t n_t, ((Gw)_t - wᵀGw) / n_t)| over Σ w_t n_t, with n_t = ‖g_t‖.
class min_norm {
 public:
  /// Assigns w (T) for G (T, T).
  certificate solve(gram_matrix g, std::span<double> w, double precision = double_precision) {
    unit_.assign(g);
    const std::size_t m = unit_.size();
    std::fill(w.begin(), w.end(), 0.0);
    if (m < w.size()) {
      std::fill(w.begin(), w.end(), 1 / static_cast<double>(w.size() - m));
      for (const std::size_t t : unit_.rows) {
        w[t] = 0;
      }
      return {};
    }
    b_.resize(m);
    y_.resize(m);
    product_.assign(m, 0.0);
    const double shortest = *std::min_element(unit_.lengths.begin(), unit_.lengths.end());
    for (std::size_t i = 0; i < m; ++i) {
      b_[i] = shortest / unit_.lengths[i];
    }
    solver_.restart(m, precision);
    solver_.solve(unit_.c.view(), b_, 0, y_);
    double total = 0;
    for (std::size_t i = 0; i < m; ++i) {
      total += y_[i] * b_[i];
    }
    double size = 0;
    for (std::size_t i = 0; i < m; ++i) {
      w[i] = y_[i] * b_[i] / total;
      size += y_[i];
      const double* const row = unit_.c.view().row(static_cast<index_t>(i));
      for (std::size_t j = 0; y_[i] != 0 && j < m; ++j) {
        product_[j] += y_[i] * row[j];
      }
    }
    // In units of `shortest` / total: n_t w_t is y_t, (Gw)_t / n_t is (Cy)_t, and wᵀGw / n_t is
    // yᵀCy b_t / total.
    double square = 0;
    for (std::size_t i = 0; i < m; ++i) {
      square += y_[i] * product_[i];
    }
    certificate found{.iterations = solver_.iterations()};
    for (std::size_t i = 0; i < m; ++i) {
      const double slack = product_[i] - square * b_[i] / total;
      found.residual = std::max(found.residual, std::abs(std::min(y_[i], slack)) / size);
    }
    found.converged = found.residual <= 1e-9 + 1e3 * precision;
    return found;
  }

 private:
  cosines unit_;
  nonnegative_quadratic solver_;
  std::vector<double> b_, y_, product_;
};

/// Whether 0 is in the convex hull of the gradients' directions to within G's precision: whether
/// they are weakly Pareto stationary.
class weak_stationarity {
 public:
  bool operator()(const cosines& unit, double precision = double_precision) {
    w_.resize(unit.size());
    nearest_.solve(unit.c.view(), w_, precision);
    double square = 0;
    for (std::size_t i = 0; i < w_.size(); ++i) {
      const double* const row = unit.c.view().row(static_cast<index_t>(i));
      for (std::size_t j = 0; j < w_.size(); ++j) {
        square += w_[i] * row[j] * w_[j];
      }
    }
    return square <= 16 * precision;
  }

 private:
  min_norm nearest_;
  std::vector<double> w_;
};

}  // namespace vierbein::weighting::solver
