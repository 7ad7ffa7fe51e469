// Least squares over y ≥ 0, from the Gramian: what the dual cone, the minimum-norm point and CAGrad
// come down to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "vierbein/core/view.hpp"
#include "vierbein/weighting/solver/certificate.hpp"
#include "vierbein/weighting/solver/cholesky.hpp"

namespace vierbein::weighting::solver {

/// argmin_{y ≥ 0} ½ yᵀCy - bᵀy for a C (n, n) that is positive semidefinite with ones on its
/// diagonal. The active-set method of Lawson and Hanson (1974, NNLS) on the Gramian: y is exact on
/// a passive set P, C_PP y_P = b_P, and the element with the largest slope b - Cy joins P until no
/// slope is positive. P always has a Cholesky factor: what depends on it linearly cannot join, and
/// where joining would still pay, y moves along the dependence instead until an element leaves P.
/// When none would ever leave, the minimum is -∞ and y is a ray: y ≥ 0, Cy = 0, bᵀy > 0.
///
/// Successive calls with the same C begin with the last P; `restart` forgets it. O(n |P|) for each
/// element that joins or leaves.
class nonnegative_quadratic {
 public:
  enum class outcome { solved, unbounded };

  /// Forgets the passive set, as another C demands. `precision` is that of the entries of C.
  void restart(std::size_t n, double precision) {
    precision_ = precision;
    passive_.clear();
    passive_.reserve(n);
    place_.assign(n, none);
    refused_.assign(n, 0);
    slope_.resize(n);
    trial_.resize(n);
    direction_.resize(n);
    factor_.clear(n);
  }

  /// Assigns y (n). `scale` says of what size the numbers were that b came from, when b itself may
  /// have cancelled.
  outcome solve(matrix_view<const double> c, std::span<const double> b, double scale,
                std::span<double> y) {
    const std::size_t n = b.size();
    iterations_ = 0;
    std::fill(y.begin(), y.end(), 0.0);
    begin_with_passive(b, y);
    std::fill(refused_.begin(), refused_.end(), 0);
    const std::size_t limit = 20 * n + 50;
    while (iterations_ < limit) {
      slopes(c, b, y);
      const double noise = 4 * precision_;
      const double size = scale + sum(y);
      std::size_t next = none;
      for (std::size_t j = 0; j < n; ++j) {
        if (place_[j] == none && refused_[j] == 0 && slope_[j] > noise * (std::abs(b[j]) + size) &&
            (next == none || slope_[j] > slope_[next])) {
          next = j;
        }
      }
      if (next == none) {
        break;
      }
      ++iterations_;
      const joined how = join(c, next, noise * (std::abs(b[next]) + size), y);
      if (how == joined::ray) {
        return outcome::unbounded;
      }
      if (how == joined::no || !descend(b, next, y)) {
        refused_[next] = 1;
      } else {
        std::fill(refused_.begin(), refused_.end(), 0);
      }
    }
    polish(c, b, y);
    return outcome::solved;
  }

  /// Elements that joined or left P in the last call.
  [[nodiscard]] std::size_t iterations() const { return iterations_; }
  /// P, in the order of joining.
  [[nodiscard]] std::span<const std::size_t> passive() const { return passive_; }
  /// x_P ← C_PP⁻¹ x_P, for x in the order of `passive`.
  void solve_passive(std::span<double> x) const { factor_.solve(x); }

 private:
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  enum class joined { yes, no, ray };

  static double sum(std::span<const double> y) {
    double total = 0;
    for (const double v : y) {
      total += v;
    }
    return total;
  }

  // slope = b - C y.
  void slopes(matrix_view<const double> c, std::span<const double> b, std::span<const double> y) {
    std::copy(b.begin(), b.end(), slope_.begin());
    for (const std::size_t p : passive_) {
      const double* const row = c.row(static_cast<index_t>(p));
      const double value = y[p];
      for (std::size_t j = 0; j < slope_.size(); ++j) {
        slope_[j] -= value * row[j];
      }
    }
  }

  void solve_trial(std::span<const double> b) {
    for (std::size_t k = 0; k < passive_.size(); ++k) {
      trial_[k] = b[passive_[k]];
    }
    factor_.solve(trial_);
  }

  void leave(std::size_t k) {
    place_[passive_[k]] = none;
    passive_.erase(passive_.begin() + static_cast<std::ptrdiff_t>(k));
    for (std::size_t i = k; i < passive_.size(); ++i) {
      place_[passive_[i]] = i;
    }
    factor_.remove(k);
    ++iterations_;
  }

  // The best y on as much of the last P as allows a positive one.
  void begin_with_passive(std::span<const double> b, std::span<double> y) {
    while (!passive_.empty()) {
      solve_trial(b);
      bool positive = true;
      for (std::size_t k = passive_.size(); k-- > 0;) {
        if (!(trial_[k] > 0)) {
          leave(k);
          positive = false;
        }
      }
      if (positive) {
        for (std::size_t k = 0; k < passive_.size(); ++k) {
          y[passive_[k]] = trial_[k];
        }
        return;
      }
    }
  }

  joined join(matrix_view<const double> c, std::size_t j, double noise, std::span<double> y) {
    const double* const row = c.row(static_cast<index_t>(j));
    const double smallest = 4 * static_cast<double>(y.size()) * precision_;
    while (!(factor_.append([&](std::size_t i) { return row[passive_[i]]; }, 1, smallest) >
             smallest)) {
      // g_j = Σ x_p g_p: y_j may grow by what the y_p lose in these shares, and Cy does not change.
      const std::span<double> x(direction_.data(), passive_.size());
      factor_.dependence(x);
      double length = 1;
      double reach = std::numeric_limits<double>::infinity();
      std::size_t first = none;
      for (std::size_t k = 0; k < x.size(); ++k) {
        length += std::abs(x[k]);
        if (x[k] > 0 && y[passive_[k]] < reach * x[k]) {
          reach = y[passive_[k]] / x[k];
          first = k;
        }
      }
      if (!(slope_[j] > noise * length)) {
        // Not more than rounding. What was moved before has changed Cy by as little.
        y[j] = 0;
        return joined::no;
      }
      if (first == none) {
        std::fill(y.begin(), y.end(), 0.0);
        y[j] = 1;
        for (std::size_t k = 0; k < x.size(); ++k) {
          y[passive_[k]] = std::max(-x[k], 0.0);
        }
        return joined::ray;
      }
      for (std::size_t k = 0; k < x.size(); ++k) {
        y[passive_[k]] = std::max(y[passive_[k]] - reach * x[k], 0.0);
      }
      y[j] += reach;
      y[passive_[first]] = 0;
      leave(first);
    }
    place_[j] = passive_.size();
    passive_.push_back(j);
    return joined::yes;
  }

  // From a feasible y to the best one on P, dropping what would become negative on the way. False
  // when `added` was dropped before anything moved.
  bool descend(std::span<const double> b, std::size_t added, std::span<double> y) {
    bool moved = false;
    bool stayed = true;
    while (!passive_.empty()) {
      solve_trial(b);
      double part = 1;
      for (std::size_t k = 0; k < passive_.size(); ++k) {
        const double from = y[passive_[k]];
        if (!(trial_[k] > 0)) {
          part = std::min(part, from > 0 ? from / (from - trial_[k]) : 0);
        }
      }
      moved = moved || part > 0;
      bool left = false;
      for (std::size_t k = passive_.size(); k-- > 0;) {
        double& value = y[passive_[k]];
        const double to = trial_[k];
        const bool blocks = !(to > 0) && value <= part * (value - to) * (1 + 1e-14);
        value = part == 1 && to > 0 ? to : std::max(value + part * (to - value), 0.0);
        if (blocks) {
          value = 0;
          stayed = stayed && (moved || passive_[k] != added);
          leave(k);
          left = true;
        }
      }
      if (!left) {
        break;
      }
    }
    return stayed;
  }

  // One step of iterative refinement on P.
  void polish(matrix_view<const double> c, std::span<const double> b, std::span<double> y) {
    slopes(c, b, y);
    for (std::size_t k = 0; k < passive_.size(); ++k) {
      trial_[k] = slope_[passive_[k]];
    }
    factor_.solve(trial_);
    for (std::size_t k = 0; k < passive_.size(); ++k) {
      if (!(y[passive_[k]] + trial_[k] > 0)) {
        return;
      }
    }
    for (std::size_t k = 0; k < passive_.size(); ++k) {
      y[passive_[k]] += trial_[k];
    }
  }

  double precision_ = double_precision;
  std::size_t iterations_ = 0;
  std::vector<std::size_t> passive_;
  std::vector<std::size_t> place_;  // in passive_, or none
  std::vector<char> refused_;
  std::vector<double> slope_, trial_, direction_;
  cholesky factor_;
};

}  // namespace vierbein::weighting::solver
