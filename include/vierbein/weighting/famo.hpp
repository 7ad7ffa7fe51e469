// All losses are to fall at the same relative rate.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// FAMO, fast adaptive multitask optimisation (Liu, Feng, Stone and Liu 2023). With logits x,
/// z = softmax(x), and D_t = ℓ_t - b_t + 1e-8 the loss beyond its bound b_t,
///     c = 1 / Σ_t z_t / D_t,   w_t = c z_t / D_t           (so Σ w_t = 1),
/// the gradient of c Σ z_t log D_t with c held. After the model's step, `observe` takes the losses
/// of the same batch again: δ_t = log D_t(before) - log D_t(after) says by which share task t has
/// fallen, and x follows z ⊙ (δ - ⟨z, δ⟩) + decay · x by one step of Adam, so a task that falls
/// faster than the average counts less. It costs a second forward pass a step.
///
/// All sums are over the tasks that the batch has labels of; the x of the others stay, and their
/// weight is 0. Without `observe` the weights stay c z_t / D_t. A loss that is not finite, or below
/// its bound, is refused by name. It remembers: a copy goes its own way, and `reset` begins again.
struct famo {
  using weighting_kind = loss_based;

  double learning_rate = 0.025;
  double decay = 1e-5;              ///< pull of the logits towards 0
  std::vector<double> bounds = {};  ///< (T) b, or empty for zeros

  /// What is learned of one task.
  struct logit {
    double x = 0;
    adam_moments moments = {};
  };
  std::vector<std::string> names = {};  ///< set by `reset`, for errors
  std::vector<logit> tasks = {};        ///< filled by `reset` or by the first `weigh`
  std::vector<double> z = {};           ///< (T) of the last batch, 0 for absent tasks
  std::vector<double> log_before = {};  ///< (T) log D of the last batch
  std::vector<double> delta = {};       ///< (T) δ of the last step
  bool weighed = false;                 ///< whether a batch waits for `observe`

  /// The authors' program.
  static famo official() { return {.decay = 1e-5}; }
  static famo libmtl() { return {.decay = 1e-3}; }
  static famo torchjd() { return {.decay = 1e-3}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = bounds.empty(),
            .linear_under_scaling = true,
            .strongly_stationary = true,
            .convex_weights = true,
            .stateful = true,
            .homogeneity = 1,
            .scale = weight_scale::mean};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    names = task_names;
    begin(task_names.size());
  }

  void weigh(losses l, weights w) {
    if (tasks.empty()) {
      begin(l.size());
    }
    check(l);
    for (std::size_t t = 0; t < l.size(); ++t) {
      z[t] = tasks[t].x;
    }
    softmax(l, z);
    double sum = 0;
    for (std::size_t t = 0; t < l.size(); ++t) {
      log_before[t] = l.has(t) ? std::log(beyond(l, t)) : 0.0;
      w[t] = l.has(t) ? z[t] / beyond(l, t) : 0.0;
      sum += w[t];
    }
    for (double& v : w) {
      v = sum > 0 ? v / sum : 0.0;
    }
    weighed = true;
  }

  /// Takes the losses of the same batch after the step. Does nothing where no batch was weighed.
  void observe(losses losses_after) {
    if (!weighed) {
      return;
    }
    check(losses_after);
    weighed = false;
    double mean = 0;
    for (std::size_t t = 0; t < z.size(); ++t) {
      delta[t] =
          z[t] > 0 && losses_after.has(t) ? log_before[t] - std::log(beyond(losses_after, t)) : 0.0;
      mean += z[t] * delta[t];
    }
    for (std::size_t t = 0; t < z.size(); ++t) {
      if (losses_after.has(t)) {
        const double slope = z[t] * (delta[t] - mean) + decay * tasks[t].x;
        tasks[t].x -= tasks[t].moments.step(slope, learning_rate);
      }
    }
  }

 private:
  [[nodiscard]] double bound(std::size_t t) const { return bounds.empty() ? 0.0 : bounds[t]; }
  [[nodiscard]] double beyond(losses l, std::size_t t) const { return l[t] - bound(t) + 1e-8; }

  void begin(std::size_t count) {
    require_not_negative(learning_rate, "learning_rate", "weighting::famo");
    require_not_negative(decay, "decay", "weighting::famo");
    require_one_a_task(bounds, count, "bounds", "weighting::famo");
    tasks.assign(count, logit{});
    z.assign(count, 0.0);
    log_before.assign(count, 0.0);
    delta.assign(count, 0.0);
    weighed = false;
  }

  void check(losses l) const {
    require(tasks.size() == l.size(), "weighting::famo",
            "made for {} tasks, but given {} losses; call reset", tasks.size(), l.size());
    require_finite(l, names, "weighting::famo");
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t) && l[t] < bound(t)) {
        throw error("weighting::famo",
                    formatted("the loss of task {} must not be below its bound {}, but is {}",
                              task_label(names, t), bound(t), l[t]));
      }
    }
  }
};

}  // namespace vierbein::weighting
