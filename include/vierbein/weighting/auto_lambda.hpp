// Weights learned by Adam on the target's development loss after a look-ahead.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Auto-λ (Liu, James, Davison and Johns 2022):
///     θ' = θ - look_ahead Σ_i λ_i g_i,     ∂L_dev(θ')/∂λ_i = -look_ahead ⟨∇L_dev(θ'), g_i⟩,
/// λ follows by Adam and w = λ; all tasks take part, the target too. λ moves first and is then
/// used. λ_i = `initial` = 0.1 at first and learning_rate 1e-4, as published; look_ahead is the
/// model's learning rate there, and 1e-3 here because a policy does not know it. Note the scale:
/// all weights begin at 0.1, which a model trained by plain gradient descent feels.
///
/// Deviations: the inner product is exact, where the paper takes the difference of losses at θ ±
/// ε∇L_dev, an approximation to it; the look-ahead leaves out momentum and weight decay; and a λ
/// that would become negative stays at 0, unless `clamp` is false.
///
/// λ of an absent task stays. The target may be absent: what counts are its development rows. With
/// T = 1 the weight is 1 and nothing is asked. Training losses are not looked at; gradients and
/// development losses that are not finite are refused.
struct auto_lambda {
  using weighting_kind = target_based;

  std::string target = {};
  double learning_rate = 1e-4;  ///< of λ
  double initial = 0.1;
  double look_ahead = 1e-3;
  std::size_t every = 1;  ///< λ moves in every so many steps
  bool clamp = true;      ///< weights do not become negative

  named_tasks tasks = {};                  ///< set by `reset`
  std::vector<double> lambda = {};         ///< (T)
  std::vector<adam_moments> moments = {};  ///< (T) of λ
  std::vector<double> products = {};       ///< (T) ⟨∇L_dev, g_t⟩
  std::vector<double> steps = {};          ///< (T) of the last look-ahead
  std::size_t count = 0;                   ///< steps of the run

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::auto_lambda");
    require_not_negative(learning_rate, "learning_rate", "weighting::auto_lambda");
    require_not_negative(initial, "initial", "weighting::auto_lambda");
    require_positive(look_ahead, "look_ahead", "weighting::auto_lambda");
    require_every(every, "weighting::auto_lambda");
    lambda.assign(names.size(), names.size() > 1 ? initial : 1.0);
    moments.assign(names.size(), {});
    products.assign(names.size(), 0.0);
    steps.assign(names.size(), 0.0);
    count = 0;
  }

  /// Between its moves at nothing but which tasks are present.
  [[nodiscard]] sight looks_at(losses) const { return moves() ? sight::gradients : sight::losses; }

  void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w) {
    tasks.require_count(l, "weighting::auto_lambda");
    if (moves()) {
      tasks.require_gradients(l, g, "weighting::auto_lambda");
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        steps[t] = l.has(t) ? look_ahead * lambda[t] : 0.0;
      }
      const development_point at = oracle.look_ahead(steps, products);
      tasks.require_answer(l, at, products, "weighting::auto_lambda");
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (l.has(t)) {
          lambda[t] -= moments[t].step(-look_ahead * products[t], learning_rate);
          lambda[t] = clamp ? std::max(0.0, lambda[t]) : lambda[t];
        }
      }
    }
    ++count;
    std::copy(lambda.begin(), lambda.end(), w.begin());
  }

 private:
  [[nodiscard]] bool moves() const { return count % every == 0 && tasks.size() > 1; }
};

}  // namespace vierbein::weighting
