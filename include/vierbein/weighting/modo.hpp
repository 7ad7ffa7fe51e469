// Weights that follow the product of gradients of independent batches.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/solver/simplex.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// MoDo (Chen, Fernando, Ying and Chen 2023). MGDA's weights from one random batch are biased,
/// since its Gramian is quadratic in that batch; the product of two independent batches' gradients
/// is not. Each step moves the weights once:
///     λ ← Π_Δ(λ - γ (G₁₂ λ + ρ λ)),    G₁₂ = J(batch 1) J(batch 2)ᵀ (T, T),    λ = 1 / T at first.
/// γ = ρ = 0.1; `libmtl()` has γ = 10⁻³. `Batches` = 2 lets the parameters follow the mean
/// of the two batches' weighted losses; 3, as in the paper, those of a third batch.
///
/// A task that is absent from either batch has neither product nor step: its λ only moves by ρ and
/// by the projection. Costs `Batches` forward and backward passes of all tasks and, during the
/// step, memory for two Jacobians. Losses are not looked at.
template <std::size_t Batches = 2>
struct modo {
  static_assert(Batches == 2 || Batches == 3, "modo uses 2 or 3 batches in a step");
  using weighting_kind = gram_based;
  static constexpr std::size_t gram_batches = Batches;

  double gamma = 0.1;
  double rho = 0.1;

  named_tasks tasks = {};           ///< set by `reset`
  std::vector<double> lambda = {};  ///< (T)
  std::vector<double> room = {};    ///< (2 T)

  static modo libmtl() { return {.gamma = 1e-3}; }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_not_negative(gamma, "gamma", "weighting::modo");
    require_not_negative(rho, "rho", "weighting::modo");
    tasks.begin(names);
    lambda.assign(names.size(), 1.0 / static_cast<double>(std::max<std::size_t>(1, names.size())));
    room.assign(2 * names.size(), 0.0);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    tasks.require_gradients(l, g, "weighting::modo");
    const std::span<double> next = std::span(room).first(tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      double slope = rho * lambda[i];
      for (std::size_t k = 0; l.has(i) && k < tasks.size(); ++k) {
        if (l.has(k)) {
          slope += g(static_cast<index_t>(i), static_cast<index_t>(k)) * lambda[k];
        }
      }
      next[i] = lambda[i] - gamma * slope;
    }
    solver::project_to_simplex(next, std::span(room).last(tasks.size()));
    std::copy(next.begin(), next.end(), lambda.begin());
    std::copy(next.begin(), next.end(), w.begin());
  }
};

}  // namespace vierbein::weighting
