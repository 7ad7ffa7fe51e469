// Along a chosen ray, with a penalty for leaving it.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Penalty-based boundary intersection (Zhang and Li 2007), over the tasks that the batch has
/// labels of: with f = ℓ - z the losses beyond the ideal point z and v the preference of length 1,
///     d₁ = ⟨f, v⟩,  d₂ = √(‖f - d₁ v‖² + ε² ‖f‖²),  L = d₁ + θ d₂,
///     w_t = ∂L/∂ℓ_t = v_t + θ (f_t - d₁ v_t + ε² f_t) / d₂,
/// with θ = 5 as in the paper and ε = 1e-6, which keeps d₂ smooth where f is on the ray. TorchJD
/// adds 1e-12 to the square instead of ε² ‖f‖²: the same where ‖f‖ = 1, but dependent on the unit
/// of the losses. Weights may be negative. Where f = 0, w = v.
///
/// An absent task gets 0. A loss that is not finite is refused by name.
struct pbi {
  using weighting_kind = loss_based;

  double theta = 5;
  std::vector<double> preference = {};  ///< (T) positive in sum, or empty for equal ones
  std::vector<double> ideal = {};       ///< (T) z, or empty for zeros

  std::vector<std::string> names = {};  ///< set by `reset`, for errors

  static pbi torchjd(double theta) { return {.theta = theta}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = preference.empty() && ideal.empty(),
            .linear_under_scaling = true,
            .homogeneity = 1};
  }

  /// Throws for an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    check_options(names.size());
  }

  /// L.
  [[nodiscard]] double objective(losses l) const {
    const distances d = measured(l);
    return d.along + theta * d.aside;
  }

  void weigh(losses l, weights w) const {
    const distances d = measured(l);
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = 0;
      if (l.has(t)) {
        const double v = d.length > 0 ? share(t) / d.length : 0.0;
        const double f = beyond(l, t);
        w[t] =
            v + (d.aside > 0 ? theta * ((f - d.along * v + epsilon * epsilon * f) / d.aside) : 0.0);
      }
    }
  }

 private:
  static constexpr double epsilon = 1e-6;

  // ‖preference‖, d₁ and d₂.
  struct distances {
    double length = 0, along = 0, aside = 0;
  };

  [[nodiscard]] double share(std::size_t t) const {
    return preference.empty() ? 1.0 : preference[t];
  }
  [[nodiscard]] double beyond(losses l, std::size_t t) const {
    return l[t] - (ideal.empty() ? 0.0 : ideal[t]);
  }

  [[nodiscard]] distances measured(losses l) const {
    check_options(l.size());
    require_finite(l, names, "weighting::pbi");
    distances d;
    for (std::size_t t = 0; t < l.size(); ++t) {
      d.length = l.has(t) ? std::hypot(d.length, share(t)) : d.length;
    }
    double size = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t)) {
        d.along += d.length > 0 ? beyond(l, t) * (share(t) / d.length) : 0.0;
        size = std::hypot(size, beyond(l, t));
      }
    }
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t) && d.length > 0) {
        d.aside = std::hypot(d.aside, beyond(l, t) - d.along * (share(t) / d.length));
      }
    }
    d.aside = std::hypot(d.aside, epsilon * size);
    return d;
  }

  void check_options(std::size_t tasks) const {
    require_not_negative(theta, "theta", "weighting::pbi");
    require_one_a_task(preference, tasks, "preference", "weighting::pbi");
    require_one_a_task(ideal, tasks, "ideal", "weighting::pbi");
    bool positive = preference.empty();
    for (const double v : preference) {
      require_not_negative(v, "preference", "weighting::pbi");
      positive = positive || v > 0;
    }
    require(positive, "weighting::pbi", "preference must be positive in sum, but all of it is 0");
    require_finite(ideal, "ideal", "weighting::pbi");
  }
};

}  // namespace vierbein::weighting
