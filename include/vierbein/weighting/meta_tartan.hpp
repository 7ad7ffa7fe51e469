// Weights from the similarity of each task's gradient to that of the target's development loss.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// META-TARTAN (Dery, Michel, Talwalkar and Neubig 2022):
///     ω_i ← ω_i + rate cos(∇L_dev, g_i),     w = softmax(ω),
/// where L_dev is taken through a head that is fitted on development rows for this purpose alone,
/// so that the model's own head, fitted on the training rows, does not hide what they still have to
/// say. ω = 0 at first, rate 0.01, as published. ω moves first and is then used. Σ w = 1: T times
/// less than equal weights, which a model trained by plain gradient descent feels.
///
/// As the published code, unlike the paper's formula, this takes the cosine and not the inner
/// product, and ∇L_dev at θ; with look_ahead > 0 it is at θ - look_ahead Σ w_i g_i, as in the
/// paper. With `head` = development_head::own the model's own head is used and nothing is fitted.
/// Deviation: the weights act on the tasks' heads as well, where the paper weighs the gradients of
/// the shared parameters only. The cosine is over these.
///
/// ω of an absent task stays. The target may be absent: what counts are its development rows. With
/// T = 1 the weight is 1 and nothing is asked. Training losses are not looked at; gradients and
/// development losses that are not finite are refused.
struct meta_tartan {
  using weighting_kind = target_based;

  std::string target = {};
  double rate = 0.01;
  double look_ahead = 0;
  std::size_t every = 1;  ///< ω moves in every so many steps
  development_head head = development_head::fitted;

  named_tasks tasks = {};             ///< set by `reset`
  std::vector<double> omega = {};     ///< (T)
  std::vector<double> value = {};     ///< (T) softmax(ω)
  std::vector<double> products = {};  ///< (T) ⟨∇L_dev, g_t⟩
  std::vector<double> steps = {};     ///< (T) of the last look-ahead
  std::size_t count = 0;              ///< steps of the run

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::meta_tartan");
    require_not_negative(rate, "rate", "weighting::meta_tartan");
    require_not_negative(look_ahead, "look_ahead", "weighting::meta_tartan");
    require_every(every, "weighting::meta_tartan");
    omega.assign(names.size(), 0.0);
    value.assign(names.size(), 1 / static_cast<double>(names.size()));
    products.assign(names.size(), 0.0);
    steps.assign(names.size(), 0.0);
    count = 0;
  }

  /// Between its moves at nothing but which tasks are present.
  [[nodiscard]] sight looks_at(losses) const { return moves() ? sight::gradients : sight::losses; }

  void weigh(losses l, gram_matrix g, step_oracle& oracle, weights w) {
    tasks.require_count(l, "weighting::meta_tartan");
    if (moves()) {
      tasks.require_gradients(l, g, "weighting::meta_tartan");
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        steps[t] = l.has(t) ? look_ahead * value[t] : 0.0;
      }
      const development_point at = oracle.look_ahead(steps, products, head, gradient_scope::shared);
      tasks.require_answer(l, at, products, "weighting::meta_tartan");
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (l.has(t)) {
          omega[t] += rate * cosine(products[t], at.gradient_norm, gradient_norm(g, t));
        }
      }
      softmax();
    }
    ++count;
    std::copy(value.begin(), value.end(), w.begin());
  }

 private:
  [[nodiscard]] bool moves() const { return count % every == 0 && tasks.size() > 1; }

  void softmax() {
    const double largest = *std::max_element(omega.begin(), omega.end());
    double sum = 0;
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      value[t] = std::exp(omega[t] - largest);
      sum += value[t];
    }
    for (double& v : value) {
      v /= sum;
    }
  }
};

}  // namespace vierbein::weighting
