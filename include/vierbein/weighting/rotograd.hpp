// Gradients of one length, set by the tasks that have converged least.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// The homogenisation of magnitudes of RotoGrad (Javaloy and Valera 2022). All gradients get the
/// length C, to which a task contributes the more, the less its gradient has shrunk:
///     w_i = C / n_i,    C = Σ_i α_i n_i,    α_i = (n_i / n⁰_i) / Σ_j (n_j / n⁰_j),    n_i = √G_ii.
/// n⁰_i is the length in the task's first step, taken anew in its step number `burn_in` (20 in the
/// authors' code; 0 for never). G (T, T), preferably of gradients of the representation, as in the
/// paper: `training{.compare = compared_gradients::representation}`.
///
/// Left out: RotoGrad's other half, a learned rotation of the representation for each task.
///
/// A task that is absent, or whose gradient is 0, has the weight 0 and no part in C; n⁰_i is never
/// taken from a gradient that is 0. Losses are not looked at. State: two numbers a task.
struct rotograd {
  using weighting_kind = gram_based;

  std::size_t burn_in = 20;

  named_tasks tasks = {};                 ///< set by `reset`
  std::vector<double> first_length = {};  ///< (T) n⁰, or 0 before a task's first step
  std::vector<std::size_t> steps = {};    ///< (T) in which the task took part

  void reset(const std::vector<std::string>& names) {
    tasks.begin(names);
    first_length.assign(names.size(), 0.0);
    steps.assign(names.size(), 0);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    tasks.require_gradients(l, g, "weighting::rotograd");
    double shares = 0;  // Σ n / n⁰
    double length = 0;  // Σ n (n / n⁰)
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      const double n = l.has(t) ? gradient_norm(g, t) : 0.0;
      if (n > 0) {
        if (first_length[t] == 0 || steps[t] == burn_in) {
          first_length[t] = n;
        }
        ++steps[t];
        shares += n / first_length[t];
        length += n * (n / first_length[t]);
      }
    }
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      const double n = l.has(t) ? gradient_norm(g, t) : 0.0;
      w[t] = n > 0 ? length / shares / n : 0.0;
    }
  }
};

}  // namespace vierbein::weighting
