// The probability simplex.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

namespace vierbein::weighting {

/// Replaces y (T) by the nearest point of the simplex {x ≥ 0, Σ x = 1}: x_i = max(y_i - τ, 0) with
/// τ = (Σ_{j ≤ k} y_(j) - 1) / k for the largest k with y_(k) > τ, y_(1) ≥ y_(2) ≥ ... (Held, Wolfe
/// and Crowder 1974). `sorted` (T) is room to work in.
inline void project_to_simplex(std::span<double> y, std::span<double> sorted) {
  std::copy(y.begin(), y.end(), sorted.begin());
  std::sort(sorted.begin(), sorted.end(), std::greater<>{});
  double sum = 0;
  double tau = 0;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    sum += sorted[k];
    const double candidate = (sum - 1) / static_cast<double>(k + 1);
    if (k == 0 || sorted[k] > candidate) {
      tau = candidate;
    }
  }
  for (double& v : y) {
    v = std::max(v - tau, 0.0);
  }
}

}  // namespace vierbein::weighting
