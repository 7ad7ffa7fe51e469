// αVIL: what each task is worth to a target, learned from the tasks' own updates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::weighting {

/// αVIL (Kourdis, Gordon-Hall and Gorinski 2024). In every round each task i trains alone from the
/// same parameters θ, on a share ρ of its rows, and arrives at θ + δ_i. The coefficients α of the
/// updates then descend on the target's development loss L,
///     ∂/∂α_i L(θ + Σ_j α_j δ_j) = ⟨∇L(θ + Σ_j α_j δ_j), δ_i⟩,
/// θ moves to θ + Σ α_i δ_i, and what α has become changes the tasks' weights w, which begin as 1.
/// The parameters of the round with the smallest development loss are kept.
///
/// `update::additive` is the paper's rule: tasks train on w_i ℓ_i, α begins as 1 and takes steps of
/// plain gradient descent, w_i ← w_i + α_i - 1. It is fragile. With α = 1 the *sum* of T updates is
/// taken, which overshoots when the updates are long; α then falls below 1 for every task, all
/// weights drain to 0 and training stops. And an optimiser that divides by the gradient's size, as
/// Adam does, makes a factor before the loss inert.
///
/// `update::relative`, the default, is ours and keeps apart what the paper's rule mixes: w is what
/// a task is worth relative to the others (Σ w_i = T), α is how far to follow its update.
///     tasks train on ℓ_i; α_i begins as w_i / T, an average of the updates;
///     `alpha_steps` times, on one development batch each:
///         α_i ← max(0, α_i - step · s_i / max_j |s_j|),   s = ∂L/∂α   (no unit, so no tuning to
///         L);
///     w_i ← (1 - adaptation) w_i + adaptation · T α_i / Σ_j α_j;
///     of α, equal shares 1/T and standing still, the one with the smallest loss on all development
///     rows is taken (`safeguard`), so that no round makes the target worse there.
///
/// Left open by the paper, and options here: ρ, the step of α and how many, the tasks' optimiser
/// (that of the training) and whether its state survives rounds, whether α scales a task's own head
/// (`scale_own_modules`), a lower bound of w (a negative weight ascends on a task; 0 by default).
///
/// A development loss or slope that is not finite ends the steps of α where they are. With one task
/// α is only the length of its step. It remembers: a copy goes its own way, `reset` begins again.
struct alpha_vil {
  using weighting_kind = update_based;
  enum class update { relative, additive };

  std::string target = {};
  update rule = update::relative;
  double share = 0.2;           ///< ρ, in epochs of each task's rows
  double step = 0.2;            ///< of α; relative to the largest slope with `relative`
  std::size_t alpha_steps = 2;  ///< in a round; 0: every development batch once
  double adaptation = 0.3;      ///< of w to α in (0, 1], with `relative`
  double smallest_weight = 0;   ///< of w, with `additive`
  bool safeguard = true;        ///< with `relative`
  bool keep_optimizer_state = true;
  bool scale_own_modules = true;
  bool equal_steps = false;  ///< every task makes as many steps as the one with the most rows

  /// The rule of the paper, with the choices that it leaves open as plain as can be: all of a
  /// task's rows in a round, all development batches once.
  static alpha_vil published(std::string target, double step = 0.1) {
    return {.target = std::move(target),
            .rule = update::additive,
            .share = 1,
            .step = step,
            .alpha_steps = 0,
            .safeguard = false};
  }

  /// What is learned; filled by `reset`.
  struct learned {
    std::vector<std::string> names = {};
    std::vector<double> w = {};
  };
  learned state = {};

  /// Throws for an unusable option and when no task is called `target`.
  void reset(const std::vector<std::string>& names) {
    constexpr const char* place = "weighting::alpha_vil";
    find_target(names, target, place);
    require(share > 0 && std::isfinite(share), place, "share must be positive, but is {}", share);
    require(step >= 0 && std::isfinite(step), place, "step must not be negative, but is {}", step);
    require(adaptation > 0 && adaptation <= 1, place, "adaptation must be in (0, 1], but is {}",
            adaptation);
    require(!std::isnan(smallest_weight), place, "smallest_weight must be a number");
    state = {names, std::vector<double>(names.size(), 1.0)};
  }

  void plan(round_plan& plan) const {
    const std::size_t tasks = state.names.size();
    for (std::size_t i = 0; i < tasks; ++i) {
      branch alone{state.names[i], std::vector<double>(tasks, 0.0), {}};
      alone.weights[i] = rule == update::additive ? state.w[i] : 1;
      plan.branches.push_back(std::move(alone));
    }
    plan.epochs = share;
    plan.equal_steps = equal_steps;
    plan.keep_optimizer_state = keep_optimizer_state;
    plan.scale_own_modules = scale_own_modules;
  }

  void combine(update_oracle& oracle, weights alpha) {
    const auto tasks = static_cast<double>(alpha.size());
    for (std::size_t i = 0; i < alpha.size(); ++i) {
      alpha[i] = rule == update::additive ? 1 : state.w[i] / tasks;
    }
    descend(oracle, alpha);
    if (rule == update::additive) {
      for (std::size_t i = 0; i < alpha.size(); ++i) {
        state.w[i] = std::max(smallest_weight, state.w[i] + alpha[i] - 1);
      }
      return;
    }
    double total = 0;
    for (const double a : alpha) {
      total += a;
    }
    for (std::size_t i = 0; i < alpha.size() && total > 0; ++i) {
      state.w[i] = (1 - adaptation) * state.w[i] + adaptation * tasks * alpha[i] / total;
    }
    if (safeguard) {
      take_best(oracle, alpha);
    }
  }

  void worth(weights w) const { std::copy(state.w.begin(), state.w.end(), w.begin()); }

 private:
  // The steps of α.
  void descend(update_oracle& oracle, weights alpha) const {
    std::vector<double> slope(alpha.size());
    const std::size_t steps = alpha_steps > 0 ? alpha_steps : oracle.batches();
    for (std::size_t k = 0; k < steps; ++k) {
      const double loss = oracle.loss(alpha, k % oracle.batches(), slope);
      double largest = 0;
      bool finite = std::isfinite(loss);
      for (const double s : slope) {
        finite = finite && std::isfinite(s);
        largest = std::max(largest, std::abs(s));
      }
      if (!finite || largest == 0) {
        return;
      }
      for (std::size_t i = 0; i < alpha.size(); ++i) {
        alpha[i] = rule == update::additive ? alpha[i] - step * slope[i]
                                            : std::max(0.0, alpha[i] - step * slope[i] / largest);
      }
    }
  }

  // α, equal shares or standing still, whichever is best for the target.
  static void take_best(update_oracle& oracle, weights alpha) {
    double best = oracle.loss(alpha);
    for (const double each : {1 / static_cast<double>(alpha.size()), 0.0}) {
      const std::vector<double> other(alpha.size(), each);
      const double loss = oracle.loss(other);
      if (loss < best || std::isnan(best)) {
        best = loss;
        std::copy(other.begin(), other.end(), alpha.begin());
      }
    }
  }
};

}  // namespace vierbein::weighting
