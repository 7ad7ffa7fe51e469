// Every task counts the same.
#pragma once

#include <algorithm>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// w_t = 1: the plain sum of the losses (TorchJD's Sum, LibMTL's EW).
struct equal {
  using weighting_kind = loss_based;
  static constexpr bool uses_losses = false;

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .homogeneity = 1,
            .scale = weight_scale::sum};
  }

  /// Σ_t ℓ_t over the tasks that are present.
  [[nodiscard]] double objective(losses l) const {
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      sum += l.has(t) ? l[t] : 0.0;
    }
    return sum;
  }

  void weigh(losses /*l*/, weights w) const { std::fill(w.begin(), w.end(), 1.0); }
};

}  // namespace vierbein::weighting
