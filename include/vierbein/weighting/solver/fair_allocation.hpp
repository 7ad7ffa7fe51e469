// Bargaining among the tasks: Nash-MTL and FairGrad.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/solver/certificate.hpp"
#include "vierbein/weighting/solver/cholesky.hpp"
#include "vierbein/weighting/solver/dual_cone.hpp"
#include "vierbein/weighting/solver/min_norm.hpp"

namespace vierbein::weighting::solver {

/// The w > 0 with G w = w^{-1/a}, element by element, for a > 0 (Navon et al. 2022 with a = 1, Ban
/// and Ji 2024): the minimum of the strictly convex ½ wᵀGw - Σ φ(w_t), φ'(x) = x^{-1/a}, by
/// Newton's method with a Cholesky factor of G + diag(w^{-1/a-1} / a) and a step that keeps w
/// positive and the value falling. It begins at the multiple of a projection on the dual cone that
/// has the least value, which is already long where the gradients nearly cancel: 5 to 15
/// iterations.
///
/// There is no such w where a combination v ≥ 0, v ≠ 0 of the gradients is 0, since v·Gw = 0 (weak
/// Pareto stationarity; the papers assume strong stationarity is the only exception). There the
/// beginning itself is returned, whose d = Jᵀw harms no task, and `converged` is false; it is w = 0
/// at strongly stationary points, which is right. A gradient that is 0 has w_t = 0 and the others
/// are solved for without it.
///
/// Residual: the largest |(Gw)_t w_t^{1/a} - 1|. Its floor is G's precision times w_t n_t Σ w_s
/// n_s, so it grows near weak stationarity; `converged` is judged with that in view.
class fair_allocation {
 public:
  /// Assigns w (T) for G (T, T).
  certificate solve(gram_matrix g, double fairness, std::span<double> w,
                    double precision = double_precision) {
    cone_.assign(g, precision);
    const cosines& unit = cone_.unit();
    const std::size_t m = unit.size();
    std::fill(w.begin(), w.end(), 0.0);
    if (m == 0) {
      return {};
    }
    resize(m);
    p_ = 1 / fairness;
    // With y = n w (m): C y = k y^{-p}, k = n^{p-1}; lengths in units of the longest.
    const double longest = *std::max_element(unit.lengths.begin(), unit.lengths.end());
    for (std::size_t i = 0; i < m; ++i) {
      log_k_[i] = (p_ - 1) * std::log(unit.lengths[i] / longest);
      u_[i] = std::exp(log_k_[i] / (1 + p_));  // the solution when no two gradients interact
    }
    certificate found = cone_.project_units(u_, y_);
    if (cone_.vanishes()) {
      return found;
    }
    // f(s y) is least where s² yᵀCy = Σ k (s y)^{1-p}.
    multiply(unit);
    const double square = std::inner_product(y_.begin(), y_.end(), product_.begin(), 0.0);
    double pull = 0;
    for (std::size_t i = 0; i < m; ++i) {
      pull += y_[i] * demand(i, y_[i]);
    }
    const double start = std::pow(pull / square, 1 / (1 + p_));
    for (double& v : y_) {
      v *= start;
    }
    if (stationary_(unit, precision)) {
      judge(unit, found);
    } else {
      newton(unit, found);
    }
    // w = y / n, and undoing the unit: y and the lengths scale by longest^{(p-1)/(p+1)} and
    // longest.
    const double scale = std::pow(longest, -2 / (1 + p_));
    double size = 0;
    for (const double v : y_) {
      size += v;
    }
    double floor = 0;
    for (std::size_t i = 0; i < m; ++i) {
      floor = std::max(floor, precision * size / demand(i, y_[i]));
      w[unit.rows[i]] = y_[i] / (unit.lengths[i] / longest) * scale;
    }
    found.converged = found.residual <= 1e-9 + 1e2 * floor;
    return found;
  }

 private:
  void resize(std::size_t m) {
    for (auto* v : {&log_k_, &u_, &y_, &product_, &step_, &trial_}) {
      v->resize(m);
    }
  }

  // k y^{-p}: what (Cy)_i must be.
  [[nodiscard]] double demand(std::size_t i, double y) const {
    return std::exp(log_k_[i] - p_ * std::log(y));
  }

  // φ in these units, up to a constant: ∫ k x^{-p} dx.
  [[nodiscard]] double utility(std::size_t i, double y) const {
    const double exponent = 1 - p_;
    return std::abs(exponent) < 1e-12 ? std::exp(log_k_[i]) * std::log(y)
                                      : std::exp(log_k_[i] + exponent * std::log(y)) / exponent;
  }

  void multiply(const cosines& unit) {
    std::fill(product_.begin(), product_.end(), 0.0);
    for (std::size_t i = 0; i < y_.size(); ++i) {
      const double* const row = unit.c.view().row(static_cast<index_t>(i));
      for (std::size_t j = 0; j < y_.size(); ++j) {
        product_[j] += y_[i] * row[j];
      }
    }
  }

  // Of y ⊙ (1 + part · step), where C y and C (y ⊙ step) are known.
  [[nodiscard]] double change(double part, double linear, double quadratic) const {
    double value = part * linear + 0.5 * part * part * quadratic;
    for (std::size_t i = 0; i < y_.size(); ++i) {
      value -= utility(i, y_[i] * (1 + part * step_[i])) - utility(i, y_[i]);
    }
    return value;
  }

  void newton(const cosines& unit, certificate& found) {
    const std::size_t m = y_.size();
    const auto c = unit.c.view();
    for (int iteration = 0; iteration < 200; ++iteration) {
      multiply(unit);
      found.residual = 0;
      double pull = 0;
      for (std::size_t i = 0; i < m; ++i) {
        const double wanted = demand(i, y_[i]);
        found.residual = std::max(found.residual, std::abs(product_[i] / wanted - 1));
        pull += wanted * y_[i];
        trial_[i] = wanted * y_[i];
        step_[i] = trial_[i] - y_[i] * product_[i];
      }
      // In relative steps δ = Δy / y the Hessian is Y C Y + p diag(k y^{1-p}).
      factor_.clear(m);
      for (std::size_t i = 0; i < m; ++i) {
        const double* const row = c.row(static_cast<index_t>(i));
        const double diagonal = y_[i] * y_[i] + p_ * trial_[i];
        factor_.append([&](std::size_t j) { return y_[i] * row[j] * y_[j]; }, diagonal,
                       1e-15 * diagonal);
      }
      if (factor_.size() < m) {
        break;  // C has an eigenvalue below 0 by rounding, and y has grown along it
      }
      std::copy(step_.begin(), step_.end(), u_.begin());
      factor_.solve(step_);
      ++found.iterations;
      const double decrement = std::inner_product(step_.begin(), step_.end(), u_.begin(), 0.0);
      double part = 1;
      for (const double s : step_) {
        part = s < 0 ? std::min(part, -0.95 / s) : part;
      }
      if (decrement > 1e-6 * pull) {
        double linear = 0;
        double quadratic = 0;
        for (std::size_t i = 0; i < m; ++i) {
          linear += product_[i] * y_[i] * step_[i];
          const double* const row = c.row(static_cast<index_t>(i));
          double inner = 0;
          for (std::size_t j = 0; j < m; ++j) {
            inner += row[j] * y_[j] * step_[j];
          }
          quadratic += y_[i] * step_[i] * inner;
        }
        for (int halving = 0;
             halving < 60 && !(change(part, linear, quadratic) <= -1e-4 * part * decrement);
             ++halving) {
          part *= 0.5;
        }
      }
      for (std::size_t i = 0; i < m; ++i) {
        y_[i] *= 1 + part * step_[i];
      }
      // Quadratic convergence: after this step the decrement is of the order of its square.
      if (!(decrement > 1e-22 * pull)) {
        break;
      }
    }
    judge(unit, found);
  }

  void judge(const cosines& unit, certificate& found) {
    multiply(unit);
    found.residual = 0;
    for (std::size_t i = 0; i < y_.size(); ++i) {
      found.residual = std::max(found.residual, std::abs(product_[i] / demand(i, y_[i]) - 1));
    }
  }

  double p_ = 1;
  dual_cone cone_;
  weak_stationarity stationary_;
  cholesky factor_;
  std::vector<double> log_k_, u_, y_, product_, step_, trial_;
};

}  // namespace vierbein::weighting::solver
