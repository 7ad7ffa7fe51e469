// αVIL: what each task is worth to a target, learned from the tasks' own updates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
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
/// The parameters of the round that is best on the development rows are kept.
///
/// `update::additive` is the paper's rule: tasks train on w_i ℓ_i, α begins as 1 and takes steps of
/// plain gradient descent, w_i ← w_i + α_i - 1. It is fragile. With α = 1 the *sum* of T updates is
/// taken, which overshoots when the updates are long; α then falls below 1 for every task, all
/// weights drain to 0 and training stops. And an optimiser that divides by the gradient's size, as
/// Adam does, makes a factor before the loss inert.
///
/// `update::relative`, the default, is ours and keeps apart what the paper's rule mixes: w is what
/// a task is worth relative to the others, Σ w_i = T; the length of the step is not α's to choose
/// (it would become too short: less noise is what pays at once). With `length::one_update` it is
/// that of one task's update where updates are orthogonal and of like size, α = w / ‖w‖, and up to
/// √T times that where they agree; with `length::average`, α = w / T. What a task owns, its head
/// above all, moves as far as the task has moved it.
///     tasks train on ℓ_i, each as many steps as the one with the most rows;
///     `alpha_steps` times, on one development batch each, at θ + Σ α_i δ_i:
///         w_i ∝ max(w_i, smallest_weight) e^{-step r_i},    r = (s - mean s) / max |s - mean s|,
///     where s = ∂L/∂α, so that neither L nor the updates need a unit;
///     when the loss on all development rows at α exceeds that of standing still, α = 0, by more
///     than the part `tolerance`, the better of standing still and the average 1/T is taken.
/// The tolerance is there because a step that will pay often costs at first, while the learning
/// rate is high: with 0 the method stops exploring and ends below the single task.
///
/// Left open by the paper, and options here: ρ, the step of α and how many, the tasks' optimiser
/// (that of the training) and whether its state survives rounds, whether α scales a task's own head
/// (`scale_own_modules`), a lower bound of w (a negative weight ascends on a task).
///
/// A development loss or slope that is not finite ends the steps of α where they are. With one task
/// w stays 1. It remembers: a copy goes its own way, `reset` begins again.
struct alpha_vil {
  using weighting_kind = update_based;
  enum class update { relative, additive };
  enum class length { one_update, average };

  std::string target = {};
  update rule = update::relative;
  length combined = length::one_update;  ///< of the step, with `relative`
  double share = 0.2;                    ///< ρ, in epochs of a task's rows
  double step = 0.2;                     ///< of α; without unit with `relative`
  std::size_t alpha_steps = 2;           ///< in a round; 0: every development batch once
  /// Of w. With `relative` it must be positive, so that a task may come back.
  double smallest_weight = 1e-3;
  double tolerance = 0.2;  ///< of the safeguard, with `relative`; infinity for none
  bool keep_optimizer_state = true;
  bool scale_own_modules = false;
  bool equal_steps = true;  ///< every task makes as many steps as the one with the most rows

  /// The rule of the paper, with the choices that it leaves open as plain as can be: all of a
  /// task's rows in a round, all development batches once.
  static alpha_vil published(std::string target, double step = 0.1) {
    return {.target = std::move(target),
            .rule = update::additive,
            .share = 1,
            .step = step,
            .alpha_steps = 0,
            .smallest_weight = 0,
            .scale_own_modules = true,
            .equal_steps = false};
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
    require(rule == update::additive ? !std::isnan(smallest_weight)
                                     : smallest_weight > 0 && smallest_weight < 1,
            place, "smallest_weight must be {}, but is {}",
            rule == update::additive ? "a number" : "in (0, 1)", smallest_weight);
    require(tolerance >= 0, place, "tolerance must not be negative, but is {}", tolerance);
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
    if (rule == update::additive) {
      descend_additive(oracle, alpha);
    } else {
      descend_relative(oracle, alpha);
      if (!std::isinf(tolerance)) {
        guard(oracle, alpha);
      }
    }
  }

  void worth(weights w) const { std::copy(state.w.begin(), state.w.end(), w.begin()); }

 private:
  void descend_additive(update_oracle& oracle, weights alpha) {
    std::fill(alpha.begin(), alpha.end(), 1.0);
    each_slope(oracle, alpha, [&](std::span<const double> slope) {
      for (std::size_t i = 0; i < alpha.size(); ++i) {
        alpha[i] -= step * slope[i];
      }
    });
    for (std::size_t i = 0; i < alpha.size(); ++i) {
      state.w[i] = std::max(smallest_weight, state.w[i] + alpha[i] - 1);
    }
  }

  void descend_relative(update_oracle& oracle, weights alpha) {
    const auto tasks = static_cast<double>(alpha.size());
    const auto share_out = [&] {
      const double all =
          combined == length::average
              ? tasks
              : std::sqrt(std::inner_product(state.w.begin(), state.w.end(), state.w.begin(), 0.0));
      for (std::size_t i = 0; i < alpha.size(); ++i) {
        alpha[i] = state.w[i] / all;
      }
    };
    share_out();
    each_slope(oracle, alpha, [&](std::span<const double> slope) {
      const double mean = std::accumulate(slope.begin(), slope.end(), 0.0) / tasks;
      double largest = 0;
      for (const double s : slope) {
        largest = std::max(largest, std::abs(s - mean));
      }
      if (largest == 0) {
        return;
      }
      double total = 0;
      for (std::size_t i = 0; i < alpha.size(); ++i) {
        state.w[i] =
            std::max(state.w[i], smallest_weight) * std::exp(-step * (slope[i] - mean) / largest);
        total += state.w[i];
      }
      for (double& w : state.w) {
        w *= tasks / total;
      }
      share_out();
    });
  }

  // move(slope) on one development batch after the other, as long as everything is finite.
  template <class Move>
  void each_slope(update_oracle& oracle, weights alpha, Move&& move) const {
    std::vector<double> slope(alpha.size());
    const std::size_t steps = alpha_steps > 0 ? alpha_steps : oracle.batches();
    for (std::size_t k = 0; k < steps; ++k) {
      const double loss = oracle.loss(alpha, k % oracle.batches(), slope);
      if (!std::isfinite(loss) ||
          !std::all_of(slope.begin(), slope.end(), [](double s) { return std::isfinite(s); })) {
        return;
      }
      move(std::span<const double>(slope));
    }
  }

  // Standing still or the average, where α makes the target so much worse.
  void guard(update_oracle& oracle, weights alpha) const {
    const std::vector<double> still(alpha.size(), 0.0);
    const double here = oracle.loss(still);
    if (oracle.loss(alpha) <= (1 + tolerance) * here) {
      return;
    }
    const std::vector<double> equal(alpha.size(), 1 / static_cast<double>(alpha.size()));
    const bool average = oracle.loss(equal) < here;
    std::copy_n((average ? equal : still).begin(), alpha.size(), alpha.begin());
  }
};

}  // namespace vierbein::weighting
