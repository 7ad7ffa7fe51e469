// A fair share of the improvement for every task.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/fair_allocation.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// FairGrad (Ban and Ji 2024): the direction d = Jᵀw that maximises the a-fair utility of the
/// tasks' improvements g_t · d, which is at
///     G w = w^{-1/a},   w > 0.
/// a = 1 is Nash-MTL's bargaining without its clipping; larger a helps the worst off more. Default
/// a = 1, as in LibMTL; TorchJD asks for a.
///
/// Deviation: Newton's method to the precision of numbers (solver/fair_allocation.hpp); the peers
/// run a bounded least-squares iteration. What happens at weakly stationary points, where no
/// solution exists, is said there: d harms no task, and is 0 at strongly stationary points alone. A
/// gradient that is 0 has the weight 0. d has the degree (1 - a) / (1 + a) in J: for a = 1 its
/// length says nothing of the gradients'.
struct fairgrad {
  using weighting_kind = gram_based;

  double a = 1;

  present_tasks tasks = {};
  solver::fair_allocation problem = {};
  solver::certificate found = {};

  static fairgrad libmtl() { return {.a = 1}; }
  static fairgrad torchjd(double a) { return {.a = a}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = true,
            .permutation_invariant = true,
            .strongly_stationary = true,
            .homogeneity = (1 - a) / (1 + a)};
  }

  /// Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_positive(a, "a", "weighting::fairgrad");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    require_positive(a, "a", "weighting::fairgrad");
    tasks.weigh(l, g, w, "weighting::fairgrad",
                [&](std::span<const double>, gram_matrix gram, weights out) {
                  found = problem.solve(gram, a, out, tasks.precision());
                });
  }

  /// What the solver says about the last answer.
  [[nodiscard]] solver::certificate last() const { return found; }
};

}  // namespace vierbein::weighting
