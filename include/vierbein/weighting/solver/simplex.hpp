// The nearest point of the probability simplex.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace vierbein::weighting::solver {

/// Π(y) = argmin ‖x - y‖² over x ≥ 0, Σ x = 1: x = max(y - τ, 0), where τ = (Σ_{j≤k} y_(j) - 1) / k
/// for the largest k with y_(k) > τ, y_(1) ≥ y_(2) ≥ ... (Held, Wolfe and Crowder 1974). By
/// sorting, O(T log T). `y` (T) is overwritten by Π(y); nothing happens when T = 0.
class simplex_projection {
 public:
  void operator()(std::span<double> y) {
    if (y.empty()) {
      return;
    }
    // Π(y + c) = Π(y): beginning at the largest keeps large y exact.
    const double largest = *std::max_element(y.begin(), y.end());
    sorted_.assign(y.begin(), y.end());
    for (double& v : sorted_) {
      v -= largest;
    }
    std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
    double sum = 0;
    double tau = 0;
    for (std::size_t k = 0; k < sorted_.size(); ++k) {
      sum += sorted_[k];
      const double next = (sum - 1) / static_cast<double>(k + 1);
      if (!(sorted_[k] > next)) {
        break;
      }
      tau = next;
    }
    for (double& v : y) {
      v = std::max(v - largest - tau, 0.0);
    }
  }

 private:
  std::vector<double> sorted_;
};

}  // namespace vierbein::weighting::solver
