// Weights that follow the gradient of the target's development loss, with a constant sum.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Discriminative importance weighting, after Sivasankaran, Vincent and Illina (2017), who learn
/// the weights of augmented data by gradient descent on what the model then does on development
/// data, one training of the model a step. Here a step of the model stands for that training:
///     θ' = θ - look_ahead Σ_t w_t g_t,     c_t = cos(∇L_dev(θ'), g_t),
///     w ← the nearest point to w + rate c with w ≥ 0 and Σ_t w_t = T,
/// so a task gains whose gradient lowers the target's development loss more than the others'. All
/// tasks take part, the target too; w moves first and is then used. w = 1 at first. The cosine
/// instead of the slope -look_ahead ‖g_t‖ ‖∇L_dev‖ c_t of L_dev keeps the losses' units out. All
/// defaults are ours: rate 0.01, look_ahead 1e-3 (the learning rate of a model that Adam trains),
/// `every` = 1. Do not look too far ahead: beyond the valley along the target's gradient ∇L_dev
/// points back, and the target loses its weight to tasks that matter less.
///
/// An absent task keeps its weight, and the sum of the others stays what it was. The target may be
/// absent: what counts are its development rows. With T = 1 the weight is 1 and nothing is asked.
/// Training losses are not looked at; gradients and development losses that are not finite are
/// refused.
struct diw {
  using weighting_kind = target_based;

  std::string target = {};
  double rate = 0.01;
  double look_ahead = 1e-3;
  std::size_t every = 1;  ///< w moves in every so many steps

  named_tasks tasks = {};             ///< set by `reset`
  std::vector<double> value = {};     ///< (T) the present weights
  std::vector<double> products = {};  ///< (T) ⟨∇L_dev, g_t⟩
  std::vector<double> steps = {};     ///< (T) of the last look-ahead
  std::size_t count = 0;              ///< steps of the run

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::diw");
    require_not_negative(rate, "rate", "weighting::diw");
    require_not_negative(look_ahead, "look_ahead", "weighting::diw");
    require_every(every, "weighting::diw");
    value.assign(names.size(), 1.0);
    products.assign(names.size(), 0.0);
    steps.assign(names.size(), 0.0);
    count = 0;
  }

  /// Between its moves at nothing but which tasks are present.
  [[nodiscard]] sight looks_at(losses) const { return moves() ? sight::gradients : sight::losses; }

  void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w) {
    tasks.require_count(l, "weighting::diw");
    if (moves()) {
      tasks.require_gradients(l, g, "weighting::diw");
      move(l, g, oracle);
    }
    ++count;
    std::copy(value.begin(), value.end(), w.begin());
  }

 private:
  [[nodiscard]] bool moves() const { return count % every == 0 && tasks.size() > 1; }

  void move(losses l, gram_matrix g, step_oracle& oracle) {
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      steps[t] = l.has(t) ? look_ahead * value[t] : 0.0;
    }
    const development_point at =
        oracle.look_ahead(steps, products, development_head::own, gradient_scope::shared);
    tasks.require_answer(l, at, products, "weighting::diw");
    double total = 0;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (l.has(t)) {
        total += value[t];
        value[t] += rate * cosine(products[t], at.gradient_norm, gradient_norm(g, t));
      }
    }
    project(l, total);
  }

  // The nearest weights of the present tasks that are not negative and add up to `total` (Michelot
  // 1986): all above τ lose τ, which rises until no further weight falls to 0.
  void project(losses l, double total) {
    double tau = -std::numeric_limits<double>::infinity();
    std::size_t above_before = tasks.size() + 1;
    while (true) {
      double sum = 0;
      std::size_t above = 0;
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (l.has(t) && value[t] > tau) {
          sum += value[t];
          ++above;
        }
      }
      if (above == above_before || above == 0) {
        break;
      }
      tau = (sum - total) / static_cast<double>(above);
      above_before = above;
    }
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (l.has(t)) {
        value[t] = std::max(0.0, value[t] - tau);
      }
    }
  }
};

}  // namespace vierbein::weighting
