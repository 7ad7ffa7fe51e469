// The mean of all tasks' losses.
#pragma once

#include <algorithm>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// w_t = 1 / T: the plain mean of the losses, with T the number of all tasks of the run, whether or
/// not the batch has labels of each.
struct mean {
  using weighting_kind = loss_based;
  static constexpr bool uses_losses = false;

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .convex_weights = true,
            .homogeneity = 1,
            .scale = weight_scale::mean};
  }

  /// Σ_t ℓ_t / T over the tasks that are present.
  [[nodiscard]] double objective(losses l) const {
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      sum += l.has(t) ? l[t] : 0.0;
    }
    return l.size() > 0 ? sum / static_cast<double>(l.size()) : 0.0;
  }

  void weigh(losses /*l*/, weights w) const {
    std::fill(w.begin(), w.end(), 1 / static_cast<double>(std::max<std::size_t>(w.size(), 1)));
  }
};

}  // namespace vierbein::weighting
