// A linear scalarisation that stays near a chosen ray.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// The scalarisation of COSMOS (Ruchte and Grabocka 2021), over the tasks that the batch has labels
/// of: with r the preference of the tasks and ⟨r, ℓ⟩ their weighted sum,
///     L = ⟨r, ℓ⟩ - λ cos(r, ℓ),
///     w_t = ∂L/∂ℓ_t = r_t - λ (r_t / (‖r‖ ‖ℓ‖) - cos(r, ℓ) ℓ_t / ‖ℓ‖²).
/// λ holds the losses near the ray along r; the paper uses 0.01 to 8. Weights may be negative. In
/// the paper the model is told r, and r is drawn anew for each batch; here r is fixed, the use that
/// TorchJD's COSMOS makes of it too. Where ℓ or r is 0, the cosine is taken to be 0.
///
/// An absent task gets 0. A loss that is not finite is refused by name.
struct cosmos {
  using weighting_kind = loss_based;

  double lambda = 1;
  std::vector<double> preference = {};  ///< (T) r, or empty for 1 / T each

  std::vector<std::string> names = {};  ///< set by `reset`, for errors

  static cosmos torchjd(double lambda) { return {.lambda = lambda}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = preference.empty(),
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
    const sums s = summed(l);
    return s.product - lambda * s.cosine;
  }

  void weigh(losses l, weights w) const {
    const sums s = summed(l);
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = l.has(t) ? share(l, t) : 0.0;
      if (l.has(t) && s.length > 0 && s.loss_length > 0) {
        w[t] -=
            lambda * (share(l, t) / s.length - s.cosine * (l[t] / s.loss_length)) / s.loss_length;
      }
    }
  }

 private:
  // ⟨r, ℓ⟩, ‖r‖, ‖ℓ‖ and cos(r, ℓ).
  struct sums {
    double product = 0, length = 0, loss_length = 0, cosine = 0;
  };

  [[nodiscard]] double share(losses l, std::size_t t) const {
    return preference.empty() ? 1 / static_cast<double>(present_count(l)) : preference[t];
  }

  [[nodiscard]] sums summed(losses l) const {
    check_options(l.size());
    require_finite(l, names, "weighting::cosmos");
    sums s;
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t)) {
        s.product += share(l, t) * l[t];
        s.length = std::hypot(s.length, share(l, t));
        s.loss_length = std::hypot(s.loss_length, l[t]);
      }
    }
    s.cosine = cosine(s.product, s.length, s.loss_length);
    return s;
  }

  void check_options(std::size_t tasks) const {
    require_not_negative(lambda, "lambda", "weighting::cosmos");
    require_one_a_task(preference, tasks, "preference", "weighting::cosmos");
    for (const double v : preference) {
      require_not_negative(v, "preference", "weighting::cosmos");
    }
  }
};

}  // namespace vierbein::weighting
