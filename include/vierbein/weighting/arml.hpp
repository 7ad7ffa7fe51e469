// Auxiliary weights whose gradients together imitate the target's.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// ARML, auxiliary task reweighting for minimum-data learning (Shi, Hoffman, Saenko, Darrell and
/// Xu 2020): the auxiliaries stand in for labels that the target lacks, as far as their gradients
/// add up to its own,
///     min over w ≥ 0 of D(w) = ‖g_target - Σ_i w_i g_i‖²,
///     ∂D/∂w_i = -2 (G_i,target - Σ_j w_j G_ij)      (i, j auxiliaries),
/// by one gradient step on w for each step of the model; the target has the weight 1. w moves
/// first and is then used.
///
/// Deviations: the step is `rate` / Σ_j G_jj, which converges for 0 < rate ≤ 1 whatever the units
/// of the losses are, where the paper takes the model's optimiser; nothing holds Σ w at T - 1; and
/// the model's gradient gets no Langevin noise.
///
/// In a batch without the target nothing moves, and an absent auxiliary takes no part in D. A
/// gradient of 0 moves nothing. With T = 1 the weight is 1. Losses are not looked at; a gradient
/// that is not finite is refused by name.
struct arml {
  using weighting_kind = gram_based;

  std::string target = {};
  double rate = 0.01;
  double initial = 1;

  named_tasks tasks = {};          ///< set by `reset`
  std::vector<double> value = {};  ///< (T) the present weights
  std::vector<double> slope = {};  ///< (T) -½ ∂D/∂w

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::arml");
    require(rate > 0 && rate <= 1, "weighting::arml", "rate must be in (0, 1], but is {}", rate);
    require_not_negative(initial, "initial", "weighting::arml");
    value.assign(names.size(), initial);
    value[tasks.target] = 1;
    slope.assign(names.size(), 0.0);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    tasks.require_gradients(l, g, "weighting::arml");
    if (l.has(tasks.target)) {
      move(l, g);
    }
    std::copy(value.begin(), value.end(), w.begin());
  }

 private:
  void move(losses l, gram_matrix g) {
    const auto takes_part = [&](std::size_t t) { return t != tasks.target && l.has(t); };
    double total = 0;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (takes_part(i)) {
        const auto row = static_cast<index_t>(i);
        total += g(row, row);
        slope[i] = g(row, static_cast<index_t>(tasks.target));
        for (std::size_t j = 0; j < tasks.size(); ++j) {
          slope[i] -= takes_part(j) ? value[j] * g(row, static_cast<index_t>(j)) : 0.0;
        }
      }
    }
    for (std::size_t i = 0; i < tasks.size() && total > 0; ++i) {
      if (takes_part(i)) {
        value[i] = std::max(0.0, value[i] + 2 * (rate / total) * slope[i]);
      }
    }
  }
};

}  // namespace vierbein::weighting
