// One task alone.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// w = 1 for the target and 0 for all others: what the target would reach without them (single-task
/// learning, the yardstick of every comparison). A batch without labels of the target moves nothing
/// but the optimiser's momentum.
struct single_task {
  using weighting_kind = loss_based;
  static constexpr bool uses_losses = false;

  std::string target = {};

  std::size_t target_task = 0;  ///< set by `reset`
  std::size_t task_count = 0;   ///< set by `reset`

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true,
            .linear_under_scaling = true,
            .convex_weights = true,
            .homogeneity = 1,
            .scale = weight_scale::mean};
  }

  /// Begins a run. Throws for an unknown target.
  void reset(const std::vector<std::string>& names) {
    target_task = find_target(names, target, "weighting::single_task");
    task_count = names.size();
  }

  /// The target's loss, 0 where it is absent.
  [[nodiscard]] double objective(losses l) const { return l.has(target_task) ? l[target_task] : 0; }

  void weigh(losses l, weights w) const {
    require(task_count == l.size(), "weighting::single_task",
            "made for {} tasks, but given {} losses; call reset", task_count, l.size());
    std::fill(w.begin(), w.end(), 0.0);
    w[target_task] = 1;
  }
};

}  // namespace vierbein::weighting
