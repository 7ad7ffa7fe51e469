// Auxiliaries are turned towards the target, as far as they usually are.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/combinations.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// GradVac in which the target's gradient stays as it is and the others are vaccinated against it
/// alone (as in the code of ForkMerge, Jiang, Chen, Wang, Long and Wang 2023): for each auxiliary
/// i, with φ = cos(g_i, g_m) and m the target,
///     x_i = g_i + a_i g_m   where φ < φ̂_i, such that cos(x_i, g_m) = φ̂_i (combination::vaccinate);
///     φ̂_i ← (1 - β) φ̂_i + β φ,   at first 0;
///     d = g_m + Σ_{i≠m} x_i.
/// No random order is involved. In a batch without the target the others have the weight 1, and φ̂
/// of an absent task stays.
struct primary_gradvac {
  using weighting_kind = gram_based;

  std::string target = {};
  double beta = 0.5;

  named_tasks names = {};  ///< set by `reset`
  present_tasks tasks = {};
  combination changed = {};
  std::vector<double> aims = {};  ///< (T) φ̂

  [[nodiscard]] weighting_traits traits() const {
    return {.stateful = true, .homogeneity = 1, .scale = weight_scale::sum};
  }

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& task_names) {
    constexpr const char* place = "weighting::primary_gradvac";
    names.begin(task_names, target, place);
    require(beta >= 0 && beta <= 1, place, "beta must be in [0, 1], but is {}", beta);
    tasks.begin(task_names);
    aims.assign(task_names.size(), 0.0);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    names.require_count(l, "weighting::primary_gradvac");
    tasks.weigh(l, g, w, "weighting::primary_gradvac",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  const std::size_t m = tasks.find(names.target);
                  for (std::size_t i = 0; i < loss.size(); ++i) {
                    out[i] += 1;
                    if (i != m && m < loss.size()) {
                      changed.begin(gram, i, tasks.precision());
                      double& aim = aims[tasks[i]];
                      const double phi = changed.vaccinate(m, aim);
                      aim = (1 - beta) * aim + beta * phi;
                      out[m] += changed.coefficients()[m];
                    }
                  }
                });
  }
};

}  // namespace vierbein::weighting
