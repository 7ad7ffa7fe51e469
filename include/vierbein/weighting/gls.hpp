// The geometric mean of the losses.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Geometric loss strategy (Chennupati, Sistu, Yogamani and Rawashdeh 2019):
///     L = (Π_t ℓ_t)^{1/T},   w_t = ∂L/∂ℓ_t = L / (T ℓ_t),
/// over the T tasks that the batch has labels of; an absent one gets 0. Both are computed from
/// logarithms, so no product overflows or vanishes (LibMTL multiplies the losses; TorchJD's
/// GeometricMean is this).
///
/// Where a loss is exactly 0, L has its minimum 0 and all weights are 0. A negative loss is refused
/// by name.
struct gls {
  using weighting_kind = loss_based;

  std::vector<std::string> names = {};  ///< set by `reset`, for errors

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .homogeneity = 1};
  }

  void reset(const std::vector<std::string>& task_names) { names = task_names; }

  /// L.
  [[nodiscard]] double objective(losses l) const {
    return present_count(l) > 0 ? std::exp(log_mean(l)) : 0.0;
  }

  void weigh(losses l, weights w) const {
    const double mean = log_mean(l);
    const double log_count = std::log(static_cast<double>(present_count(l)));
    for (std::size_t t = 0; t < l.size(); ++t) {
      const bool counts = l.has(t) && std::isfinite(mean);
      w[t] = counts ? std::exp(mean - log_count - std::log(l[t])) : 0.0;
    }
  }

 private:
  // log L, which is -∞ where a loss is 0.
  [[nodiscard]] double log_mean(losses l) const {
    require_finite(l, names, "weighting::gls");
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t) && l[t] < 0) {
        throw error("weighting::gls", formatted("the loss of task {} must not be negative, but "
                                                "is {}",
                                                task_label(names, t), l[t]));
      }
      sum += l.has(t) ? std::log(l[t]) : 0.0;
    }
    return sum / static_cast<double>(std::max<std::size_t>(present_count(l), 1));
  }
};

}  // namespace vierbein::weighting
