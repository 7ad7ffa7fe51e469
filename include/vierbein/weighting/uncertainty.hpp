// Weights from each task's learned noise.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Uncertainty weighting (Kendall, Gal and Cipolla 2018): the sum Σ_t ½ e^{-s_t} ℓ_t + ½ s_t, with
/// the log variance s_t of a task's noise learned beside the model. So w_t = ½ e^{-s_t}, and s_t
/// follows ∂/∂s_t = ½ (1 - e^{-s_t} ℓ_t); at rest s_t = log ℓ_t. Losses must not be negative.
///
/// `weigh` returns the weights of the present s_t and then moves them by one step of Adam with
/// epsilon 1e-8; s_t of a task that is absent from the batch stays. Deviation: the paper and its
/// peers train s_t with the model's own optimiser and learning rate; here it has its own, so that
/// the policy knows no optimiser and the model's schedule does not stop it.
///
/// It remembers: a copy goes its own way, and `reset` begins again.
struct uncertainty {
  using weighting_kind = loss_based;

  double learning_rate = 1e-2;
  double initial = 0;  ///< first value of every s_t
  double beta1 = 0.9;
  double beta2 = 0.999;

  /// What is learned of one task.
  struct noise {
    double s = 0;  ///< log variance
    adam_moments moments = {};
  };
  std::vector<std::string> names = {};  ///< set by `reset`, for errors
  std::vector<noise> tasks = {};        ///< filled by `reset` or by the first `weigh`

  static uncertainty torchjd() { return {.initial = 0}; }
  static uncertainty libmtl() { return {.initial = -0.5}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .stateful = true,
            .homogeneity = 1};
  }

  /// Σ_t ½ e^{-s_t} ℓ_t + ½ s_t over the tasks that are present. Before the first step s_t is
  /// `initial`.
  [[nodiscard]] double objective(losses l) const {
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      const double s = tasks.empty() ? initial : tasks[t].s;
      sum += l.has(t) ? 0.5 * std::exp(-s) * l[t] + 0.5 * s : 0.0;
    }
    return sum;
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    reset(task_names.size());
    names = task_names;
  }
  void reset(std::size_t task_count) {
    names.clear();
    require_not_negative(learning_rate, "learning_rate", "weighting::uncertainty");
    require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "weighting::uncertainty",
            "beta1 and beta2 must be in [0, 1), but are {} and {}", beta1, beta2);
    require(std::isfinite(initial), "weighting::uncertainty", "initial must be finite, but is {}",
            initial);
    tasks.assign(task_count, noise{.s = initial});
  }

  void weigh(losses l, weights w) {
    if (tasks.empty()) {
      reset(l.size());
    }
    require(tasks.size() == l.size(), "weighting::uncertainty",
            "made for {} tasks, but given {} losses; call reset", tasks.size(), l.size());
    require_finite(l, names, "weighting::uncertainty");
    for (std::size_t t = 0; t < l.size(); ++t) {
      const double precision = std::exp(-tasks[t].s);
      w[t] = 0.5 * precision;
      if (l.has(t)) {
        tasks[t].s -=
            tasks[t].moments.step(0.5 * (1 - precision * l[t]), learning_rate, beta1, beta2);
      }
    }
  }
};

}  // namespace vierbein::weighting
