// The best improvement of the worst-off task near the mean gradient: CAGrad's problem.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/solver/certificate.hpp"
#include "vierbein/weighting/solver/cosines.hpp"
#include "vierbein/weighting/solver/min_norm.hpp"
#include "vierbein/weighting/solver/nonnegative.hpp"

namespace vierbein::weighting::solver {

/// d = argmax min_t g_t · d over ‖d - g_0‖ ≤ c ‖g_0‖, where g_0 = Jᵀ1 / T (Liu, Liu, Jin, Stone and
/// Liu 2021). The peers minimise its dual, wᵀG1/T + c ‖g_0‖ √(wᵀGw) over the simplex, which has no
/// slope at w = 0 gradients. Here the problem is solved as it stands: the d nearest to g_0 with Jd
/// ≥ s is g_0 + Jᵀv with v ≥ 0, a nonnegative_quadratic, its distance from g_0 grows with s, and
/// while the passive set stays it is the root of a quadratic in s: so s is found exactly in a few
/// steps, the largest for which the distance does not exceed c ‖g_0‖. Weights are w = 1/T + v.
///
/// Where the gradients are weakly Pareto stationary, s ≤ 0: among the d that are equally good the
/// one nearest to g_0 is taken. So d = 0 only at
/// strongly stationary points; there, with c ≥ 1, w = 0 but for gradients that are 0. With g_0 = 0
/// or c = 0, w = 1/T.
///
/// Residual: the larger of the largest |min(n_t v_t, (g_t · d - s) / n_t)| over Σ n_t / T and the
/// relative distance of ‖d - g_0‖ from c ‖g_0‖ (0 where it stays below for s = 0).
class conflict_averse {
 public:
  /// Assigns w (T) for G (T, T).
  certificate solve(gram_matrix g, double c, std::span<double> w,
                    double precision = double_precision) {
    unit_.assign(g);
    const std::size_t m = unit_.size();
    const double share = 1 / static_cast<double>(w.size());
    std::fill(w.begin(), w.end(), share);
    for (auto* v : {&mean_, &rate_, &b_, &y_, &fixed_, &moving_}) {
      v->resize(m);
    }
    size_ = 0;
    std::fill(mean_.begin(), mean_.end(), 0.0);
    double shortest = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < m; ++i) {
      const double u = unit_.lengths[i] * share;
      size_ += u;
      shortest = std::min(shortest, unit_.lengths[i]);
      const double* const row = unit_.c.view().row(static_cast<index_t>(i));
      for (std::size_t j = 0; j < m; ++j) {
        mean_[j] += u * row[j];
      }
    }
    double square = 0;
    for (std::size_t i = 0; i < m; ++i) {
      square += unit_.lengths[i] * share * mean_[i];
      rate_[i] = shortest / unit_.lengths[i];
    }
    if (!(c > 0) || !(square > 64 * precision * size_ * size_)) {
      return {};
    }
    const double length = std::sqrt(square);
    const double radius = c * length;
    certificate found;
    solver_.restart(m, precision);
    const bool stuck = m < w.size() || stationary_(unit_, precision);
    if (stuck && radius >= length * (1 - 1e-12) && vanishes(share, precision, found)) {
      for (const std::size_t t : unit_.rows) {
        w[t] = 0;
      }
      return found;
    }
    const double at = search(radius, length, stuck, found);
    for (std::size_t i = 0; i < m; ++i) {
      w[unit_.rows[i]] += y_[i] / unit_.lengths[i];
    }
    judge(at, radius, stuck && at == 0, found);
    found.converged = found.residual <= 1e-9 + 1e3 * precision;
    return found;
  }

 private:
  // The y for s, in units of the shortest gradient. Returns ‖d - g_0‖; infinity when no d reaches
  // s.
  double distance(double s, certificate& found) {
    for (std::size_t i = 0; i < y_.size(); ++i) {
      b_[i] = s * rate_[i] - mean_[i];
    }
    const auto outcome = solver_.solve(unit_.c.view(), b_, size_, y_);
    found.iterations += solver_.iterations();
    if (outcome == nonnegative_quadratic::outcome::unbounded) {
      return std::numeric_limits<double>::infinity();
    }
    double square = 0;
    for (std::size_t i = 0; i < y_.size(); ++i) {
      square += y_[i] * b_[i];  // yᵀCy, as Cy = b where y > 0
    }
    return std::sqrt(std::max(square, 0.0));
  }

  // Whether no d but 0 has Jd ≥ 0, to within G's precision.
  bool vanishes(double share, double precision, certificate& found) {
    distance(0, found);
    apply();
    double square = 0;
    double total = size_;
    for (std::size_t i = 0; i < y_.size(); ++i) {
      square += unit_.lengths[i] * share * (mean_[i] + fixed_[i]);
      total += y_[i];
    }
    return negligible_square(square, size_, total, precision);
  }

  // Where the distance would be `radius` if the passive set stayed.
  double guess(double radius) {
    const auto passive = solver_.passive();
    for (std::size_t k = 0; k < passive.size(); ++k) {
      fixed_[k] = -mean_[passive[k]];
      moving_[k] = rate_[passive[k]];
    }
    solver_.solve_passive(fixed_);
    solver_.solve_passive(moving_);
    double constant = -radius * radius;
    double linear = 0;
    double quadratic = 0;
    for (std::size_t k = 0; k < passive.size(); ++k) {
      constant -= mean_[passive[k]] * fixed_[k];
      linear += rate_[passive[k]] * fixed_[k];
      quadratic += rate_[passive[k]] * moving_[k];
    }
    const double root = std::sqrt(std::max(linear * linear - quadratic * constant, 0.0));
    // The larger root, without cancellation.
    return linear > 0 ? -constant / (linear + root) : (root - linear) / quadratic;
  }

  // The largest s with a distance of at most `radius`; y is then that of s. `stuck`: it is not
  // positive.
  double search(double radius, double length, bool stuck, certificate& found) {
    // At `free` no task needs help; no task can have more than `high`.
    double free = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < y_.size(); ++i) {
      free = std::min(free, mean_[i] / rate_[i]);
    }
    free = stuck ? std::min(free, 0.0) : free;
    double low = free;
    double high = stuck ? 0 : radius + length;
    const double at_zero = distance(0, found);
    if (at_zero > radius) {
      high = 0;
    } else {
      low = std::max(low, 0.0);
      if (stuck) {
        return 0;
      }
    }
    double s = 0;
    double reached = at_zero;
    bool solved = true;  // y is that of s
    for (int step = 0; step < 100; ++step) {
      double next = solved ? guess(radius) : 0;
      if (!solved || !(next > low && next < high)) {
        next = 0.5 * (low + high);
      }
      if (next == low || next == high) {
        break;
      }
      reached = distance(next, found);
      solved = reached < std::numeric_limits<double>::infinity();
      s = next;
      (reached <= radius ? low : high) = next;
      if (std::abs(reached - radius) <= 1e-14 * radius) {
        return s;
      }
      if (high - low <= 1e-16 * (radius + length)) {
        break;
      }
    }
    if (s != low || !solved) {
      s = low;
      distance(s, found);
    }
    return s;
  }

  // fixed = C y.
  void apply() {
    std::fill(fixed_.begin(), fixed_.end(), 0.0);
    for (std::size_t i = 0; i < y_.size(); ++i) {
      const double* const row = unit_.c.view().row(static_cast<index_t>(i));
      for (std::size_t j = 0; y_[i] != 0 && j < y_.size(); ++j) {
        fixed_[j] += y_[i] * row[j];
      }
    }
  }

  void judge(double s, double radius, bool at_the_end, certificate& found) {
    apply();
    double square = 0;
    for (std::size_t i = 0; i < y_.size(); ++i) {
      square += y_[i] * fixed_[i];
      const double slack = mean_[i] + fixed_[i] - s * rate_[i];
      found.residual = std::max(found.residual, std::abs(std::min(y_[i], slack)) / size_);
    }
    const double off = (std::sqrt(std::max(square, 0.0)) - radius) / radius;
    found.residual = std::max(found.residual, at_the_end ? std::max(off, 0.0) : std::abs(off));
  }

  double size_ = 0;
  cosines unit_;
  nonnegative_quadratic solver_;
  weak_stationarity stationary_;
  std::vector<double> mean_, rate_, b_, y_, fixed_, moving_;
};

}  // namespace vierbein::weighting::solver
