// A common descent direction that stays near a preferred one, from independent batches.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/solver/simplex.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// SDMGrad (Xiao, Ban and Ji 2023): the direction that improves the worst task, kept near that of
/// the preferred weights w̃ = 1 / T by λ. With A = J(batch 1) J(batch 2)ᵀ (T, T), divided by
/// (mean_i √max(A_ii, 0))², so that no learning rate depends on the length of gradients, `steps`
/// steps of projected gradient descent with momentum, v = 0 before the first of them:
///     v ← μ v + A (w + λ w̃),     w ← Π_Δ(w - rate v),     d = Jᵀ (w + λ w̃) / (1 + λ),
/// J of a third batch. w goes on where the last step left it, 1 / T at first. λ = 0.3, 20 steps and
/// μ = 0.5 as in the authors' code; rate = 10, and 5 in `libmtl()`.
///
/// Deviation: tasks that are absent from one of the first two batches take no part in the steps:
/// their w_i stay, and the others are projected on the rest of the simplex; then the weights are
/// those of the tasks that the third batch has. Where all A_ii ≤ 0, w stays. Costs three forward
/// and backward passes of all tasks and memory for two Jacobians.
struct sdmgrad {
  using weighting_kind = gram_based;
  static constexpr std::size_t gram_batches = 3;

  double lambda = 0.3;
  std::size_t steps = 20;
  double momentum = 0.5;
  double rate = 10;

  named_tasks tasks = {};          ///< set by `reset`
  std::vector<double> value = {};  ///< (T) w
  std::vector<double> room = {};   ///< (3 T) velocity, the weights that move, room to sort

  static sdmgrad libmtl() { return {.rate = 5}; }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    constexpr const char* place = "weighting::sdmgrad";
    require_not_negative(lambda, "lambda", place);
    require_not_negative(rate, "rate", place);
    require(momentum >= 0 && momentum < 1, place, "momentum must lie in [0, 1), but is {}",
            momentum);
    tasks.begin(names);
    value.assign(names.size(), 1.0 / static_cast<double>(std::max<std::size_t>(1, names.size())));
    room.assign(3 * names.size(), 0.0);
  }

  void weigh(losses l, gram_matrix a, weights w) {
    tasks.require_gradients(l, a, "weighting::sdmgrad");
    const std::size_t n = tasks.size();
    const double preferred = 1.0 / static_cast<double>(std::max<std::size_t>(1, n));
    double length = 0;
    double held = 0;  // what the absent keep
    double present = 0;
    for (std::size_t t = 0; t < n; ++t) {
      held += l.has(t) ? 0.0 : value[t];
      present += l.has(t) ? 1.0 : 0.0;
      length += l.has(t) ? gradient_norm(a, t) : 0.0;
    }
    const double free = 1 - held;
    if (length > 0 && free > 0) {
      length /= present;
      const double unit = length * length;
      const auto velocity = std::span(room).first(n);
      std::fill(velocity.begin(), velocity.end(), 0.0);
      for (std::size_t step = 0; step < steps; ++step) {
        for (std::size_t i = 0; i < n; ++i) {
          double slope = 0;
          for (std::size_t k = 0; l.has(i) && k < n; ++k) {
            if (l.has(k)) {
              slope += a(static_cast<index_t>(i), static_cast<index_t>(k)) / unit *
                       (value[k] + lambda * preferred);
            }
          }
          velocity[i] = momentum * velocity[i] + slope;
        }
        std::size_t count = 0;
        const auto moving = std::span(room).subspan(n, n);
        for (std::size_t i = 0; i < n; ++i) {
          if (l.has(i)) {
            moving[count++] = (value[i] - rate * velocity[i]) / free;
          }
        }
        solver::project_to_simplex(moving.first(count), std::span(room).last(n).first(count));
        count = 0;
        for (std::size_t i = 0; i < n; ++i) {
          value[i] = l.has(i) ? free * moving[count++] : value[i];
        }
      }
    }
    for (std::size_t t = 0; t < n; ++t) {
      w[t] = (value[t] + lambda * preferred) / (1 + lambda);
    }
  }
};

}  // namespace vierbein::weighting
