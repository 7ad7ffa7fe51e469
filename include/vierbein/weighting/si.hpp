// The logarithms of the losses.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Scale-invariant loss weighting: L = Σ_t c_t log ℓ_t, so w_t = c_t / ℓ_t and the unit of a loss
/// does not matter (the baseline "SI" of Navon et al. 2022 and of FAMO's comparison), or, with
/// `plus_one`, L = Σ_t c_t log(1 + ℓ_t), w_t = c_t / (1 + ℓ_t), which bounds the weight of a task
/// that is nearly solved. An absent task gets 0.
///
/// Losses must be positive, with `plus_one` greater than -1; others are refused by name.
struct si {
  using weighting_kind = loss_based;

  std::vector<double> factors = {};  ///< (T) c, or empty for ones
  bool plus_one = false;

  std::vector<std::string> names = {};  ///< set by `reset`, for errors

  /// log ℓ, as in FAMO's comparison.
  static si famo() { return {}; }
  /// log(1 + ℓ), as in Samsung's framework.
  static si samsung() { return {.plus_one = true}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = factors.empty(),
            .linear_under_scaling = true,
            .strongly_stationary = factors.empty(),
            .homogeneity = 1};
  }

  /// Throws when there is not one factor a task, or one is negative or not finite.
  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    require_one_a_task(factors, names.size(), "factors", "weighting::si");
    for (const double c : factors) {
      require_not_negative(c, "factors", "weighting::si");
    }
  }

  /// L.
  [[nodiscard]] double objective(losses l) const {
    check(l);
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      sum += l.has(t) ? factor(t) * (plus_one ? std::log1p(l[t]) : std::log(l[t])) : 0.0;
    }
    return sum;
  }

  void weigh(losses l, weights w) const {
    check(l);
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = l.has(t) ? factor(t) / (plus_one ? 1 + l[t] : l[t]) : 0.0;
    }
  }

 private:
  [[nodiscard]] double factor(std::size_t t) const { return factors.empty() ? 1.0 : factors[t]; }

  void check(losses l) const {
    require_one_a_task(factors, l.size(), "factors", "weighting::si");
    require_above(l, plus_one ? -1.0 : 0.0, names, "weighting::si");
  }
};

}  // namespace vierbein::weighting
