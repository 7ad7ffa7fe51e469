// Weights, or the step that they make, held within a bound.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/decorator.hpp"

namespace vierbein::weighting {

/// The weights ŵ of `policy`, first each held to |w_t| ≤ `largest`, then all scaled down together
/// where the step d = Jᵀw is longer than `norm`:
///     w_t = min(max(ŵ_t, -largest), largest),   w ← w · min(1, norm / ‖d‖),   ‖d‖² = wᵀGw.
/// Both bounds are infinite at first; `norm` needs the Gramian, so a policy of the kind gram_based.
/// With norm = 1 around `nash_mtl` it is the max_norm of Nash-MTL (Navon et al. 2022).
template <class Policy>
struct clip {
  static_assert(StepWeighting<Policy>, "clip wraps a policy of the kind loss_based or gram_based");
  using weighting_kind = typename Policy::weighting_kind;

  Policy policy = {};
  double largest = std::numeric_limits<double>::infinity();
  double norm = std::numeric_limits<double>::infinity();

  [[nodiscard]] weighting_traits traits() const {
    weighting_traits t = traits_of(policy);
    const bool elements = std::isfinite(largest);
    if (elements || std::isfinite(norm)) {
      t.non_conflicting = t.non_conflicting && !elements;
      t.strongly_stationary = t.strongly_stationary && !elements;
      t.linear_under_scaling = false;
      t.convex_weights = t.convex_weights && !std::isfinite(norm) && largest >= 1;
      t.homogeneity = {};
      t.scale = weight_scale::other;
    }
    return t;
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require(largest > 0, "weighting::clip", "largest must be positive, but is {}", largest);
    require(norm > 0, "weighting::clip", "norm must be positive, but is {}", norm);
    require(GramBasedWeighting<Policy> || !std::isfinite(norm), "weighting::clip",
            "norm needs a policy of the kind gram_based: this one sees no gradients");
    weighting::reset(policy, names);
  }

  void weigh(losses l, weights w)
    requires LossBasedWeighting<Policy>
  {
    policy.weigh(l, w);
    hold(w);
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires GramBasedWeighting<Policy>
  {
    policy.weigh(l, g, w);
    hold(w);
    if (std::isfinite(norm)) {
      const double length = step_length(l, g, w);
      for (double& v : w) {
        v = length > norm ? v * (norm / length) : v;
      }
    }
  }

  void observe(losses losses_after)
    requires Observing<Policy>
  {
    policy.observe(losses_after);
  }
  void end_epoch(std::span<const double> mean)
    requires EndingEpochs<Policy>
  {
    policy.end_epoch(mean);
  }

 private:
  void hold(weights w) const {
    for (double& v : w) {
      v = std::clamp(v, -largest, largest);
    }
  }

  static double step_length(losses l, gram_matrix g, weights w) {
    double square = 0;
    for (std::size_t s = 0; s < w.size(); ++s) {
      for (std::size_t t = 0; t < w.size(); ++t) {
        square += l.has(s) && l.has(t)
                      ? w[s] * w[t] * g(static_cast<index_t>(s), static_cast<index_t>(t))
                      : 0.0;
      }
    }
    return std::sqrt(std::max(square, 0.0));
  }
};

}  // namespace vierbein::weighting
