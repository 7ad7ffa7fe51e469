// The nearest point of the probability simplex.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>

namespace vierbein::weighting::solver {

/// Replaces y (T) by Π(y) = argmin ‖x - y‖² over x ≥ 0, Σ x = 1: x = max(y - τ, 0), where
/// τ = (Σ_{j≤k} y_(j) - 1) / k for the largest k with y_(k) > τ, y_(1) ≥ y_(2) ≥ ... (Held, Wolfe
/// and Crowder 1974). By sorting, O(T log T); `sorted` (T) is room to work in. Nothing happens for
/// T = 0.
inline void project_to_simplex(std::span<double> y, std::span<double> sorted) {
  if (y.empty()) {
    return;
  }
  // Π(y + c) = Π(y): beginning at the largest keeps large y exact.
  const double largest = *std::max_element(y.begin(), y.end());
  std::transform(y.begin(), y.end(), sorted.begin(), [&](double v) { return v - largest; });
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double sum = 0;
  double tau = 0;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    sum += sorted[k];
    const double next = (sum - 1) / static_cast<double>(k + 1);
    if (!(sorted[k] > next)) {
      break;
    }
    tau = next;
  }
  for (double& v : y) {
    v = std::max(v - largest - tau, 0.0);
  }
}

}  // namespace vierbein::weighting::solver
