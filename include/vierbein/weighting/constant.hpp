// Weights chosen by the user.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// w_t = values[t], in the order of the tasks. Throws when there is not one number a task, or one
/// is negative or not finite.
struct constant {
  using weighting_kind = loss_based;
  static constexpr bool uses_losses = false;

  std::vector<double> values;

  [[nodiscard]] weighting_traits traits() const {
    return {.linear_under_scaling = true,
            .strongly_stationary = std::ranges::all_of(values, [](double v) { return v > 0; }),
            .homogeneity = 1};
  }

  /// Σ_t values[t] ℓ_t over the tasks that are present.
  [[nodiscard]] double objective(losses l) const {
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      sum += l.has(t) ? values[t] * l[t] : 0.0;
    }
    return sum;
  }

  void reset(std::size_t tasks) const {
    require(values.size() == tasks, "weighting::constant",
            "expected {} weights, one a task, got {}", tasks, values.size());
    for (const double v : values) {
      require(v >= 0 && std::isfinite(v), "weighting::constant",
              "expected weights that are finite and not negative, got {}", v);
    }
  }

  void weigh(losses l, weights w) const {
    require(values.size() == l.size(), "weighting::constant",
            "expected {} weights, one a task, got {}", l.size(), values.size());
    std::copy(values.begin(), values.end(), w.begin());
  }
};

}  // namespace vierbein::weighting
