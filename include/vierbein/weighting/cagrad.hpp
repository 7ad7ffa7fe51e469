// The best improvement of the worst-off task near the mean gradient.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/conflict_averse.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// CAGrad, conflict-averse gradient descent (Liu, Liu, Jin, Stone and Liu 2021). With g_0 = Σ g_t /
/// T,
///     d = argmax min_t g_t · d over ‖d - g_0‖ ≤ c ‖g_0‖,
/// divided by 1 (`rescale` 0, the paper), 1 + c² (1) or 1 + c (2; then T equal gradients give d =
/// g). c = 0 is the mean; with c ≥ 1, d harms no task.
///
/// Defaults differ: the paper's experiments and the harness of Nash-MTL and FAMO have c = 0.4 and
/// no rescaling, LibMTL c = 0.5 and rescale 1, TorchJD asks for c and does not rescale. Ours are
/// the paper's.
///
/// Deviation: solved exactly (solver/conflict_averse.hpp), not by an iteration on the dual that has
/// no slope at weakly stationary points; there, of the d that are equally good the nearest to g_0
/// is taken. TorchJD returns 0 there and wherever gradients are short (1e-4).
struct cagrad {
  using weighting_kind = gram_based;

  double c = 0.4;
  int rescale = 0;

  present_tasks tasks = {};
  solver::conflict_averse problem = {};
  solver::certificate found = {};

  static cagrad libmtl() { return {.c = 0.5, .rescale = 1}; }
  static cagrad torchjd(double c) { return {.c = c}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = c >= 1,
            .permutation_invariant = true,
            .strongly_stationary = true,
            .homogeneity = 1,
            .scale = rescale == 2 || c == 0 ? weight_scale::mean : weight_scale::other};
  }

  /// Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_options();
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    require_options();
    tasks.weigh(l, g, w, "weighting::cagrad",
                [&](std::span<const double>, gram_matrix gram, weights out) {
                  found = problem.solve(gram, c, out, tasks.precision());
                  const double divisor = rescale == 0 ? 1 : 1 + (rescale == 1 ? c * c : c);
                  for (double& v : out) {
                    v /= divisor;
                  }
                });
  }

  /// What the solver says about the last answer.
  [[nodiscard]] solver::certificate last() const { return found; }

 private:
  void require_options() const {
    require_not_negative(c, "c", "weighting::cagrad");
    require(rescale >= 0 && rescale <= 2, "weighting::cagrad",
            "rescale must be 0, 1 or 2, but is {}", rescale);
  }
};

}  // namespace vierbein::weighting
