// Losses brought to the same size by learned factors.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// IMTL-L, the loss-balancing half of impartial multi-task learning (Liu, Li, Kuang, Xue, Chen,
/// Yang, Liao and Zhang 2021): the sum Σ_t e^{s_t} ℓ_t - s_t with s_t learned beside the model. So
/// w_t = e^{s_t}, and s_t follows ∂/∂s_t = e^{s_t} ℓ_t - 1; at rest e^{s_t} ℓ_t = 1. It is twice
/// `uncertainty` with -s in the place of s. Losses must not be negative.
///
/// `weigh` returns the weights of the present s_t and then moves them by one step of Adam with
/// epsilon 1e-8; s_t of a task that is absent from the batch stays. Deviation: the paper and its
/// peers train s_t with the model's own optimiser; here it has its own learning rate, so that the
/// policy knows no optimiser. TorchJD's `IMTLL` begins at s = 0 too; LibMTL offers IMTL-L only
/// together with IMTL-G.
///
/// It remembers: a copy goes its own way, and `reset` begins again.
struct imtl_l {
  using weighting_kind = loss_based;

  double learning_rate = 1e-2;
  double initial = 0;  ///< first value of every s_t
  double beta1 = 0.9;
  double beta2 = 0.999;

  /// What is learned of one task.
  struct factor {
    double s = 0;  ///< logarithm of the weight
    adam_moments moments = {};
  };
  std::vector<std::string> names = {};  ///< set by `reset`
  std::vector<factor> tasks = {};       ///< filled by `reset` or by the first `weigh`

  static imtl_l torchjd() { return {.initial = 0}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .stateful = true,
            .homogeneity = 1};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    begin(task_names.size());
  }

  /// Σ_t e^{s_t} ℓ_t - s_t over the tasks that are present. Before the first step s_t is `initial`.
  [[nodiscard]] double objective(losses l) const {
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      const double s = tasks.empty() ? initial : tasks[t].s;
      sum += l.has(t) ? std::exp(s) * l[t] - s : 0.0;
    }
    return sum;
  }

  void weigh(losses l, weights w) {
    if (tasks.empty()) {
      begin(l.size());
    }
    require(tasks.size() == l.size(), "weighting::imtl_l",
            "made for {} tasks, but given {} losses; call reset", tasks.size(), l.size());
    require_finite(l, names, "weighting::imtl_l");
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = std::exp(tasks[t].s);
      if (l.has(t)) {
        tasks[t].s -= tasks[t].moments.step(w[t] * l[t] - 1, learning_rate, beta1, beta2);
      }
    }
  }

 private:
  void begin(std::size_t count) {
    require_not_negative(learning_rate, "learning_rate", "weighting::imtl_l");
    require(std::isfinite(initial), "weighting::imtl_l", "initial must be finite, but is {}",
            initial);
    require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "weighting::imtl_l",
            "beta1 and beta2 must be in [0, 1), but are {} and {}", beta1, beta2);
    tasks.assign(count, factor{.s = initial});
  }
};

}  // namespace vierbein::weighting
